"""What ``check`` found as JUnit XML: a test suite per form, a test case per golden case."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

EARLIER = re.compile(b'<testsuites name="rr-runtime check"')  # by which such a report is known
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0


def junit(result: Mapping[str, Any]) -> str:
    """Returns the result of ``check`` as JUnit XML; a form that was left out is skipped, a damaged bundle an error."""
    root = ET.Element("testsuites", name="rr-runtime check")
    for place in result["places"]:
        if place["error"]:
            suite = _suite(root, place["place"])
            ET.SubElement(_case(suite, place["place"], "open"), "error", message=_text(place["error"]))
        elif not place["checked"]:
            suite = _suite(root, place["place"])
            ET.SubElement(_case(suite, place["place"], "check"), "failure", message="nothing was checked")
        for form in place["forms"]:
            _add_form(root, place["place"], form)
    for suite in root:
        for name, found in (("tests", "testcase"), *((f"{k}s", f"testcase/{k}") for k in ("failure", "error"))):
            suite.set(name, str(len(suite.findall(found))))
        suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_form(root: ET.Element, place: str, form: Mapping[str, Any]) -> None:
    suite = _suite(root, f"{place}: {form['target']} on {form['provider']}")
    if form["left_out"]:
        ET.SubElement(_case(suite, suite.get("name", ""), "golden cases"), "skipped", message=_text(form["left_out"]))
    if form["error"]:
        kind = "error" if form["damaged"] else "failure"
        ET.SubElement(_case(suite, suite.get("name", ""), "open"), kind, message=_text(form["error"]))
    for case in form["cases"]:
        made = _case(suite, suite.get("name", ""), f"case {case['case']}: {case['why']}")
        if not case["holds"]:
            ET.SubElement(made, "failure", message=_text(case["failure"]))


def _suite(root: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(root, "testsuite", name=_text(name))


def _case(suite: ET.Element, place: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=_text(place), name=_text(name))


def _text(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
