"""``python -m regimelag report``."""

from __future__ import annotations

import pytest
from builders import bare_spec, hand_panel, prior_fit

import regimelag as rl
from regimelag.__main__ import main


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_saved_fit_becomes_a_report(tmp_path, capsys):
    spec = bare_spec()
    file = rl.save_fit(prior_fit(spec, hand_panel(spec, 40), draws=50), tmp_path / "fit.nc")
    assert main(["report", str(file)]) == 0
    page = tmp_path / "fit_report" / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert page.is_file()
    # What exists is kept, unless asked for.
    assert main(["report", str(file), str(page.parent)]) == 2
    assert "overwrite" in capsys.readouterr().err


def test_what_is_no_fit_is_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path / "none.nc")]) == 2
    assert "none.nc" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["print"])
