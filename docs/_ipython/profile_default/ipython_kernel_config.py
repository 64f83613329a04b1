"""The kernel that runs the pages: figures have twice the pixels, so that they are sharp on any screen."""

c = get_config()  # noqa: F821
c.InlineBackend.figure_formats = {"retina"}
c.IPKernelApp.log_level = 40
