"""Runs the service: ``python -m tests.servers.django_service PORT TOKEN FILE``; FILE is its data base."""

import sys

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

PORT, TOKEN, FILE = sys.argv[1:]


class Somebody:
    """Whoever has the token."""

    is_anonymous = False
    is_authenticated = True


def sign_in(get_response):
    """Middleware that knows one token."""

    def answer(request):
        if request.headers.get("Authorization") == f"Bearer {TOKEN}":
            request.user = Somebody()
        return get_response(request)

    return answer


settings.configure(
    SECRET_KEY="of no importance",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": FILE,
            "OPTIONS": {
                "timeout": 60,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
            },
        }
    },
    INSTALLED_APPS=["django_scim", "tests.servers.django_service"],
    MIDDLEWARE=[f"{__name__}.sign_in", "django_scim.middleware.SCIMAuthCheckMiddleware"],
    LOGGING_CONFIG=None,
    SCIM_SERVICE_PROVIDER={
        "NETLOC": f"127.0.0.1:{PORT}",
        "SCHEME": "http",
        "USER_MODEL_GETTER": "tests.servers.django_service.getters.users",
        "GROUP_MODEL": "tests.servers.django_service.models.Group",
        "AUTHENTICATION_SCHEMES": [
            {"type": "oauthbearertoken", "name": "OAuth Bearer Token", "description": "A token"}
        ],
    },
)
django.setup()
urlpatterns = [path("scim/v2/", include("django_scim.urls", namespace="scim"))]

if __name__ == "__main__":
    from django.core.servers.basehttp import run

    call_command("migrate", run_syncdb=True, verbosity=0)
    run("127.0.0.1", int(PORT), get_wsgi_application(), threading=True)
