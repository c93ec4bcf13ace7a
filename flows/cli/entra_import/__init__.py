"""``provisor import-entra``: an exported Microsoft Entra synchronization schema -> a job file, and what it leaves out.

schema.json --schema--> Schema --rules, sources--> ImportedJob --writing--> YAML with comments
                                                        |
                                                        +--> findings: what was left out or changed, and why
"""

from flows.cli.entra_import.rules import Finding, Handling, ImportedJob, import_schema
from flows.cli.entra_import.schema import EntraSchemaError, Schema, read_schema
from flows.cli.entra_import.writing import job_text

__all__ = [
    "EntraSchemaError",
    "Finding",
    "Handling",
    "ImportedJob",
    "Schema",
    "import_schema",
    "job_text",
    "read_schema",
]
