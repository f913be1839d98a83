"""Unraid's template: well-formed, of this version, and with variables that qSticky has."""

from pathlib import Path
from xml.etree import ElementTree as ET

from qsticky import __version__
from qsticky.config import VARIABLES, load

TEMPLATE = ET.parse(Path(__file__).parents[2] / "deploy/unraid/qsticky.xml").getroot()
# What Unraid writes for each setting; its parser of templates wants every one of them.
ATTRIBUTES = {"Default", "Description", "Display", "Mask", "Mode", "Name", "Required", "Target"}


def test_it_is_a_template_and_runs_this_version_in_gluetuns_network() -> None:
    assert (TEMPLATE.tag, TEMPLATE.attrib) == ("Container", {"version": "2"})
    text = {element.tag: element.text for element in TEMPLATE if element.tag != "Config"}
    assert text["Repository"] == f"ghcr.io/qsticky/qsticky:{__version__}"
    assert text["Network"] == "container:gluetun"
    assert text["Privileged"] == "false"
    options = text["ExtraParams"] or ""
    for option in ("--read-only", "--tmpfs /tmp", "--cap-drop ALL", "no-new-privileges"):
        assert option in options
    assert all(text.values())


def test_its_settings_are_variables_with_their_defaults_and_secrets_are_masked(
    tmp_path: Path,
) -> None:
    given = {}
    for setting in TEMPLATE.iter("Config"):
        assert set(setting.attrib) == {*ATTRIBUTES, "Type"}
        name = setting.attrib["Target"]
        is_password = VARIABLES[name].secret and not name.endswith("_USER")
        assert setting.attrib["Mask"] == str(is_password).lower(), name
        assert (setting.text or "") == setting.attrib["Default"]
        given[name] = setting.text or ""
    assert load(given, tmp_path).unread == ()


def test_its_page_is_at_the_port_that_qsticky_serves() -> None:
    port = VARIABLES["METRICS_PORT"].default
    assert TEMPLATE.findtext("WebUI") == f"http://[IP]:{port}/"
