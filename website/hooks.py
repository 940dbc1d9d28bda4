"""What mkdocs does beside its own work: pages from outside of docs/, and links as they lead in the repository."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from website.commands import commands_page
from website.links import ROOT, SOURCES, rewrite_links


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages whose text stands elsewhere: at the top of the repository, and in the commands themselves."""
    for source, page in SOURCES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "commands.md", content=commands_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links of the repository into links of the site."""
    homes = {page: source for source, page in SOURCES.items()}
    uri = page.file.src_uri
    return rewrite_links(markdown, source=homes.get(uri, f"docs/{uri}"), page=uri, repository=config.repo_url or None)
