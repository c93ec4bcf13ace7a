"""A SCIM service made of the PyPI package django-scim2 on a data base of its own, as a Django project would use it."""
