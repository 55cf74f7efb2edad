"""What is declared of data classes in plain words is what the classes themselves say."""

from simarchive.data import registered_data_classes
from simarchive.ground.vocabulary.criteria import ALIASES, CLASS_ALIASES
from simarchive.ground.vocabulary.data_classes import DECLARED
from simarchive.storage import evaluator_json


def test_declared_columns_are_those_of_the_classes() -> None:
    assert evaluator_json.OPAQUE_CLASSES  # They are registered with it.
    ours = [cls for cls in registered_data_classes() if cls.__module__.startswith("simarchive.")]
    assert {cls.data_class_name: (cls.data_class_version, cls.index_columns()) for cls in ours} == {
        name: (declared.version, declared.columns) for name, declared in DECLARED.items()
    }


def test_short_names_are_of_something() -> None:
    columns = {column.name for declared in DECLARED.values() for column in declared.columns}
    assert set(CLASS_ALIASES.values()) <= set(DECLARED)
    assert set(ALIASES.values()) <= {*columns, "contains_components", "excludes_components"}
