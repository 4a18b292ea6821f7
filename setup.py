"""Reads settings.ini, which alone holds the name, version, user and requirements."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
config = ConfigParser()
config.read(root / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
app, site, dev = (settings[f"{extra}_requirements"].split() for extra in ("app", "site", "dev"))

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(root / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    url=settings["git_url"],
    keywords=settings["keywords"].split(),
    license=settings["license_name"],
    license_files=["LICENSE"],
    python_requires=">=" + settings["min_python"],
    classifiers=[f"Programming Language :: Python :: {v}" for v in settings["python_versions"].split()],
    packages=find_packages(include=[settings["lib_name"], settings["lib_name"] + ".*"]),
    package_data={settings["lib_name"]: ["results/*.csv", "weights/*", "web/*", "py.typed"]},
    install_requires=settings["requirements"].split(),
    extras_require={"app": app, "site": site, "dev": dev + app + site},
    entry_points={"console_scripts": settings["console_scripts"].split()},
)
