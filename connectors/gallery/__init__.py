"""Built-in profiles of well-known SCIM services, each made from its maker's own documentation, which it cites."""
