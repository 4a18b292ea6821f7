"""What the book needs of Sphinx beside its theme."""

import re
from html import escape

from docutils import nodes
from latex2mathml.converter import convert
from myst_nb.core.render import NbElementRenderer

PLAIN = re.compile(r'<span class="(?:n|p|w)">([^<]*)</span>')  # code without a colour of its own
SIGNATURE = re.compile(r"<dl>\n(.*?)</dl>", re.S)  # no list, but parameters on lines of their own
render_image = NbElementRenderer.render_image


def with_alternative_text(self, data):
    "myst-nb drops it from an output's metadata."
    elements = render_image(self, data)
    facts = data.output_metadata.get(data.mime_type, {})
    for element in elements:
        for image in element.findall(nodes.image):
            image["alt"], image["loading"] = facts.get("alt", ""), "lazy"
    return elements


def anchor(title: str) -> str:
    "The part of a link that leads to a heading, as JupyterLab and GitHub write it."
    return title.replace(" ", "-")


def inline(self, node):
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(self, node):
    formula = convert(node.astext(), display="block")
    self.body.append(f'<div class="formula" tabindex="0">{formula}</div>')  # a narrow page scrolls it
    raise nodes.SkipNode


def as_lines(found) -> str:
    return found[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")


def finish(app, pagename, templatename, context, doctree):
    "A page's subtitle describes it; a fold is no box, and is called by its title."
    quote = next(doctree.findall(nodes.block_quote), None) if doctree else None
    about = escape(quote.astext() if quote else context["description"])
    context["metatags"] = context.get("metatags", "") + f'<meta name="description" content="{about}">'
    if doctree:
        body = context["body"].replace(' aria-label="Toggle hidden content"', "")
        body = body.replace('"admonition hide above-input"', '"hide above-input"')
        context["body"] = SIGNATURE.sub(as_lines, PLAIN.sub(r"\1", body))


def setup(app):
    NbElementRenderer.render_image = with_alternative_text
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.config.html_math_renderer = "mathml"
    app.connect("html-page-context", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
