"""What the book needs of Sphinx beside its theme: alternative texts of pictures, and formulas without another host."""

from docutils import nodes
from latex2mathml.converter import convert
from myst_nb.core.render import NbElementRenderer

render_image = NbElementRenderer.render_image


def with_alternative_text(self, data):
    "myst-nb drops it from an output's metadata."
    elements = render_image(self, data)
    facts = data.output_metadata.get(data.mime_type, {})
    for element in elements:
        for image in element.findall(nodes.image):
            image["alt"] = facts.get("alt", "")
    return elements


def inline(self, node):
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(self, node):
    self.body.append(convert(node.astext(), display="block"))
    raise nodes.SkipNode


def setup(app):
    NbElementRenderer.render_image = with_alternative_text
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
