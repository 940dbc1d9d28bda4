"""A report as JUnit XML, the form that CI services show test results from: one test case per point of the proof."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from rr_export.report.report import Report

_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0


def junit(report: Report) -> str:
    """Returns the report as JUnit XML: a test suite of the subject, with a failure per point that does not hold.

    A point that does not apply is skipped; what ended the verification is an error. Where the two models part stands
    in the first failure.
    """
    suite = ET.Element("testsuite", name=_written(f"rr-export verify {report.subject}"))
    properties = ET.SubElement(suite, "properties")
    for name, version in report.versions.items():
        ET.SubElement(properties, "property", name=name, value=version)
    divergence = report.divergence.lines() if report.divergence is not None else []
    for check in report.checks:
        case = _case(suite, report, check.name)
        if check.passed is None:
            ET.SubElement(case, "skipped", message=_written(check.summary))
        elif not check.passed:
            message = check.failures[0] if check.failures else check.summary
            failure = ET.SubElement(case, "failure", type="ParityError", message=_written(message))
            failure.text = _written("\n".join([*check.failures, *divergence]))
            divergence = []
        ET.SubElement(case, "system-out").text = _written(check.summary)
    if report.error:
        case = _case(suite, report, "verification")
        error = ET.SubElement(case, "error", type="Error", message=_written(report.error.splitlines()[0]))
        error.text = _written(report.error)
    results = {"tests": "testcase", "failures": "testcase/failure", "errors": "testcase/error"}
    results["skipped"] = "testcase/skipped"
    for name, place in results.items():
        suite.set(name, str(len(suite.findall(place))))
    root = ET.Element("testsuites", name="rr-export verify")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, report: Report, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=_written(report.subject), name=_written(name))


def _written(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
