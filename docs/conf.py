# SPDX-License-Identifier: MIT
# conf.py: how Sphinx turns this directory into HTML and man pages. It needs Sphinx 5.3 or later, and no network. The
# theme is furo; where that is not installed the build says so and takes Sphinx's own, which has no dark mode and is poor
# on a phone. It does not know the version: Meson passes it with -D.
import importlib.util
import os
import pathlib
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

project = 'uvface'
author = 'the uvface authors'
copyright = '2026, ' + author

extensions = ['reference']  # docs/reference.py
exclude_patterns = ['examples']
primary_domain = 'c'
highlight_language = 'none'
smartquotes = False  # "--json" must stay two hyphens, in man pages too

if importlib.util.find_spec('furo') is not None:
    html_theme = 'furo'
    html_theme_options = {
        'light_css_variables': {'color-code-background': '#f6f7f9'},
        'dark_css_variables': {'color-code-background': '#1b1f24'},
    }
    pygments_style = 'xcode'  # both reach a contrast of 4.5 for every word, as test/test_pages.py wants
    pygments_dark_style = 'github-dark'
else:
    print('docs: the theme furo is not installed (Debian: furo), so the pages look plain', file=sys.stderr)
    html_theme = 'alabaster'
    html_theme_options = {'description': 'A shared-memory NDN face for libuv', 'fixed_sidebar': True, 'page_width': '60em'}
html_css_files = ['pages.css']  # in docs/static, which Meson passes with -D as well
html_copy_source = False

man_make_section_directory = False
man_show_urls = True
man_pages = [
    ('uvface', 'uvface', 'shared-memory NDN face as a libuv-style handle', author, 3),
    ('uvface_client', 'uvface_client', 'an app\'s way to its face at the forwarder', author, 3),
    ('uvface_server', 'uvface_server', 'serve the apps of a machine at a Unix socket', author, 3),
    ('ndnshm', 'ndnshm', 'shared-memory NDN face for any event loop', author, 3),
    ('ndnpkt', 'ndnpkt', 'NDN packets, signatures and management commands', author, 3),
    ('uvface-perf', 'uvface-perf', 'measure a shared-memory NDN face', author, 1),
    ('uvface-stat', 'uvface-stat', 'list shared-memory NDN faces, and what dead engines left', author, 1),
    ('uvface-dump', 'uvface-dump', 'show the packets of a shared-memory NDN face', author, 1),
]


def name_version(app, config):
    config.html_title = f'uvface {config.release}'


def join_scripts(app, error):
    """As packaged in Debian the theme's script imports another, which a plain script may not: then nothing of it runs,
    and there is no way to change between light and dark. That other one needs no import."""
    scripts = pathlib.Path(app.outdir) / '_static' / 'scripts'
    begin = 'import Gumshoe from "./gumshoe-patched.js";'
    if error is None and (scripts / 'gumshoe-patched.js').exists():
        script = (scripts / 'furo.js').read_text(encoding='utf-8')
        if script.startswith(begin):
            other = (scripts / 'gumshoe-patched.js').read_text(encoding='utf-8')
            (scripts / 'furo.js').write_text(other + script[len(begin):], encoding='utf-8')


def setup(app):
    app.connect('config-inited', name_version)
    app.connect('build-finished', join_scripts)
    # Ninja looks at the time of the output directory, which rewriting the files inside does not change.
    app.connect('build-finished', lambda app, error: os.utime(app.outdir))
