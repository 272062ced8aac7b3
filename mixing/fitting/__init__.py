"""From a runs table to chosen laws: the engine, cross-validation, selection, blends, and the report of a fit."""
