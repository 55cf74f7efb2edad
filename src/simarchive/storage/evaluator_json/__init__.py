"""The typed JSON of OpenFF Evaluator, read and written: values, stored objects, and users' own classes."""

from simarchive.storage.evaluator_json.documents import (
    classes_with_evaluator_form,
    data_class_filed_under,
    dump_typed,
    evaluator_type_of,
    from_evaluator,
    has_data_class_for,
    has_evaluator_form,
    parse_typed,
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
from simarchive.storage.evaluator_json.reading import read_fields, read_value
from simarchive.storage.evaluator_json.types import (
    TYPE,
    TYPE_STRINGS,
    class_name_of,
    full_type_string,
    short_name,
)
from simarchive.storage.evaluator_json.writing import array as typed_array
from simarchive.storage.evaluator_json.writing import with_tagged_arrays

__all__ = [
    "OPAQUE_CLASSES",
    "TYPE",
    "TYPE_STRINGS",
    "EvaluatorObject",
    "EvaluatorObjectWithFiles",
    "TypedJSON",
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
    "stored_object",
    "to_evaluator",
    "typed_array",
    "typed_of",
    "with_tagged_arrays",
]
