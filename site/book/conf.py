"""Sphinx builds the book from the executed notebooks; tools/site.py prepares them, and runs this."""

import json
import os


about = json.loads(os.environ["MNIST_NB_SITE"])  # tools/site.py fills it from settings.ini

project, author, copyright = about["title"], about["author"], about["copyright"]
version = release = about["version"]
extensions = ["myst_nb", "book"]
exclude_patterns = []
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_image_options = {}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_html_meta = {
    "description": about["description"],
    "property=og:title": about["title"],
    "property=og:description": about["description"],
    "property=og:image": f"{about['url']}/book/_static/card.png",
}
suppress_warnings = ["mystnb.unknown_mime_type"]
html_theme = "sphinx_book_theme"
html_title = about["title"]
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_show_sourcelink = False
html_theme_options = {
    "repository_url": about["repository"],
    "repository_branch": about["branch"],
    "path_to_docs": "nbs",
    "use_repository_button": True,
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "use_download_button": False,
    "show_toc_level": 2,
}
