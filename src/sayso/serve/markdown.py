"""Converts a reply's Markdown to safe HTML.

A model may write anything, so its output is untrusted: raw HTML stays text, and the renderer's output
is sanitized against a list of allowed tags. No images, because loading one would tell its server who reads.
"""

import nh3
from markdown_it import MarkdownIt

BLOCKS = {"p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code"}
TAGS = BLOCKS | {"em", "strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}

_parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"]).disable("image")


def to_html(text: str) -> str:
    """Return Markdown as HTML that is safe to insert into a page."""
    return nh3.clean(
        _parser.render(text),
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
