"""Events in a few words, for the story that a failure tells."""

from dataclasses import MISSING, fields, is_dataclass


def brief(value: object) -> str:
    """A record without what is as usual: `Finished(7, 1, failure='exit')`."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(brief, value))}]"
    if isinstance(value, str):
        return repr(str(value))
    if not is_dataclass(value):
        return str(value)
    parts = []
    for field in fields(value):
        each = getattr(value, field.name)
        if field.default is MISSING:
            parts.append(brief(each))
        elif each != field.default:
            parts.append(f"{field.name}={brief(each)}")
    return f"{type(value).__name__}({', '.join(parts)})"
