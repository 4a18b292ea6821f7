"""Sphinx builds the book from the executed notebooks; tools/site.py prepares them, and runs this."""

import sys
from configparser import ConfigParser
from pathlib import Path

here = Path(__file__).parent
sys.path.insert(0, str(here))
config = ConfigParser()
config.read(here.parent.parent / "settings.ini", encoding="utf-8")
about = config["DEFAULT"]

project, author, copyright = about["title"], about["author"], about["copyright"]
version = release = about["version"]
extensions = ["myst_nb", "book"]
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
myst_enable_extensions = ["attrs_block", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
myst_heading_slug_func = "book.anchor"
python_maximum_signature_line_length = 70
add_module_names = False
html_theme = "sphinx_book_theme"
html_title = about["title"]
html_favicon = "../live/icon.svg"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_copy_source = False
html_domain_indices = False
html_context = {"default_mode": "auto", "description": about["description"]}
templates_path = ["_templates"]
html_sidebars = {"**": ["site.html", "search-button-field.html", "contents.html"]}
html_theme_options = {
    "repository_url": about["git_url"],
    "repository_branch": about["branch"],
    "path_to_docs": "nbs",
    "use_repository_button": True,
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
}
