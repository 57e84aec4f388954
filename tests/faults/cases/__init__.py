"""The cases: each file is a family of them, and registers its own with lib.cases.case."""
