"""What django-scim2 asks for before models are loaded."""


def users():
    """The model of users."""
    from tests.servers.django_service.models import User

    return User
