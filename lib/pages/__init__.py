"""Pages for people: HTML that needs no script, made on the server.

Values in, a `Page` out: nothing here knows a store, a record or the web
framework. jinja2 and markdown-it-py are imported when the first page is made.
"""
