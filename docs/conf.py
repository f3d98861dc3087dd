# SPDX-License-Identifier: MIT
# conf.py: how Sphinx turns this directory into HTML and man pages. It needs nothing but Sphinx 5.3 or later
# with its alabaster theme, and no network. It does not know the version: Meson passes it with -D.
import os

project = 'uvface'
author = 'the uvface authors'
copyright = '2026, ' + author

exclude_patterns = ['examples']
primary_domain = 'c'
highlight_language = 'none'
smartquotes = False  # "--json" must stay two hyphens, in man pages too

html_theme = 'alabaster'
html_theme_options = {
    'description': 'A shared-memory NDN face for libuv',
    'fixed_sidebar': True,
    'page_width': '60em',
}
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
    ('uvface-inspect', 'uvface-inspect', 'print the header of a shared-memory NDN face', author, 1),
]


def setup(app):
    # Ninja looks at the time of the output directory, which rewriting the files inside does not change.
    app.connect('build-finished', lambda app, error: os.utime(app.outdir))
