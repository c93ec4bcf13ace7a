"""What README and deploy/ say, done word for word by a script: ``python -m tests.play.readme``, ``... .compose``."""
