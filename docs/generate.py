"""Write what is generated from code: pages of options, tables, audits and public names, and the schema for editors."""

import json
from pathlib import Path

import api_page
import formats_page

from svdflow.registry import audits_page
from svdflow.store import schema
from svdflow.study import options_page

ROOT = Path(__file__).parents[1]
PAGES = {
    "docs/options.md": options_page.markdown(),
    "docs/schema.md": schema.markdown(),
    "docs/audits.md": audits_page.markdown(),
    "docs/api.md": api_page.markdown(),
    "docs/formats.md": formats_page.markdown(),
    "config/schemas/config.schema.json": json.dumps(options_page.config_schema(), indent=2) + "\n",
}

for name, text in PAGES.items():
    (ROOT / name).write_text(text, encoding="utf-8")
