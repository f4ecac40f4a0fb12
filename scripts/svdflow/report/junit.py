"""Audits as JUnit XML, which continuous integration shows as test cases."""

from xml.etree import ElementTree

import pandas as pd

from svdflow.escaping import visible
from svdflow.report.table_rows import groups, records

OUTCOMES = {"FAIL": "failure", "ERROR": "error", "SKIP": "skipped", "INCONCLUSIVE": "skipped"}


def junit(audit: pd.DataFrame) -> str:
    """One suite a family and one case an audit; WARN passes and says why in its output.

    Parameters
    ----------
    audit : DataFrame
        The table ``audit``, in the order of the cases.
    """
    root = ElementTree.Element("testsuites")
    for family, rows in groups(audit, "family"):
        outcomes = rows["verdict"].map(OUTCOMES)
        counts = {
            plural: str(int((outcomes == name).sum()))
            for plural, name in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
        }
        about = {"name": visible(family), "tests": str(len(rows)), **counts}
        suite = ElementTree.SubElement(root, "testsuite", about)
        for row in records(rows):
            where = " ".join(str(row[name]) for name in ("dataset", "item", "plane") if row["dataset"])
            name = f"{row['subject']} ({where})" if where else row["subject"]
            case = ElementTree.SubElement(
                suite, "testcase", classname=visible(f"{family}.{row['audit']}"), name=visible(name)
            )
            said = visible(
                f"{row['verdict']}: value {row['value']:.4g}, fail {row['fail']:.4g}. {row['reason']}"
            )
            if row["verdict"] in OUTCOMES:
                outcome = ElementTree.SubElement(case, OUTCOMES[row["verdict"]], message=said)
                outcome.text = visible(row["reproduce"])
            elif row["verdict"] == "WARN":
                ElementTree.SubElement(case, "system-out").text = said
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
