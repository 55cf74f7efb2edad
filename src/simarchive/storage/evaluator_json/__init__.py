"""The typed JSON of OpenFF Evaluator, read and written: values, stored objects, and users' own classes."""

from simarchive.storage.evaluator_json.documents import (
    classes_with_evaluator_form,
    data_class_filed_under,
    dump_typed,
    evaluator_type_of,
    from_evaluator,
    has_data_class_for,
    has_evaluator_form,
    register_evaluator_type,
    to_evaluator,
)
from simarchive.storage.evaluator_json.objects import (
    OPAQUE_CLASSES,
    EvaluatorObject,
    EvaluatorObjectWithFiles,
    TypedJSON,
    object_of,
    opaque_class,
    stored_object,
    typed_of,
)
from simarchive.storage.evaluator_json.parsing import MAX_JSON_BYTES, check_characters, parse_typed
from simarchive.storage.evaluator_json.reading import read_fields, read_value
from simarchive.storage.evaluator_json.types import (
    TYPE,
    TYPE_STRINGS,
    class_name_of,
    full_type_string,
    short_name,
    shown,
)
from simarchive.storage.evaluator_json.writing import array as typed_array
from simarchive.storage.evaluator_json.writing import with_tagged_arrays

__all__ = [
    "MAX_JSON_BYTES",
    "OPAQUE_CLASSES",
    "TYPE",
    "TYPE_STRINGS",
    "EvaluatorObject",
    "EvaluatorObjectWithFiles",
    "TypedJSON",
    "check_characters",
    "class_name_of",
    "classes_with_evaluator_form",
    "data_class_filed_under",
    "dump_typed",
    "evaluator_type_of",
    "from_evaluator",
    "full_type_string",
    "has_data_class_for",
    "has_evaluator_form",
    "object_of",
    "opaque_class",
    "parse_typed",
    "read_fields",
    "read_value",
    "register_evaluator_type",
    "short_name",
    "shown",
    "stored_object",
    "to_evaluator",
    "typed_array",
    "typed_of",
    "with_tagged_arrays",
]
