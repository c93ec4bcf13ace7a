"""The pages for people: who has what and why, what waits, what a cycle did; approving with open eyes.

    settings.py    who may sign in and do what: ``pages.yaml`` beside the job files
    rights.py      roles, and what each may see and do
    signing_in.py  passwords, sessions, attempts; provider.py for OpenID Connect
    shield.py      what every request passes: host, origin, session, form token, headers
    app.py         addresses to pages; the pages themselves in pages_*.py
    errands.py     plans, reasons and on-demand runs as processes of their own, with a page that waits

What the pages say is worked out in ``tasks.pages``, from what ``tasks.ledger`` answers.
"""
