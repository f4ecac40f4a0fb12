"""Write the pages that are generated from code and schemas: options, tables, audits."""

from pathlib import Path

from svdflow.selfcheck import catalogue
from svdflow.store import schema
from svdflow.study import options_page

ROOT = Path(__file__).parents[1]
PAGES = {"options": options_page.markdown(ROOT), "schema": schema.markdown(), "audits": catalogue.markdown()}

for name, text in PAGES.items():
    (ROOT / "docs" / f"{name}.md").write_text(text, encoding="utf-8")
