"""Write the pages that are generated from code and schemas: options, tables, audits."""

from pathlib import Path

from svdflow.audit import catalogue
from svdflow.plan import options
from svdflow.store import schema

ROOT = Path(__file__).parents[1]
PAGES = {"options": options.markdown(ROOT), "schema": schema.markdown(), "audits": catalogue.markdown()}

for name, text in PAGES.items():
    (ROOT / "docs" / f"{name}.md").write_text(text, encoding="utf-8")
