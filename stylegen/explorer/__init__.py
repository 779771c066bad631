"""The explorer: a page in the browser, or in a notebook, to look around in a trained generator.

``state`` is all that an image depends on, ``engine`` draws it, ``jobs`` are what takes many steps, ``session`` answers
the page's messages. These know nothing of the web. ``server`` (extra ``explore``) and ``widget`` (extra ``notebook``)
carry the messages; ``page`` has the page, ES modules without a build step.
"""

from stylegen.errors import StylegenError


class ExploreError(StylegenError):
    """The page asks for something that cannot be; the message says what can."""
