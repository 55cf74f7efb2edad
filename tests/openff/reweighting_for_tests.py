"""Estimate the density of water by reweighting stored data, with a real server, client and worker process.

    python reweighting_for_tests.py STORED_DATA PORT

prints the result as JSON. It works in the current directory.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from openff.evaluator.backends import ComputeResources
from openff.evaluator.backends.dask import DaskLocalCluster
from openff.evaluator.client import ConnectionOptions, EvaluatorClient, RequestOptions
from openff.evaluator.datasets import MeasurementSource, PhysicalPropertyDataSet, PropertyPhase
from openff.evaluator.forcefield import SmirnoffForceFieldSource
from openff.evaluator.properties import Density
from openff.evaluator.server import EvaluatorServer
from openff.evaluator.storage.query import SimulationDataQuery
from openff.evaluator.substances import Substance
from openff.evaluator.thermodynamics import ThermodynamicState
from openff.units import unit

from simarchive.interop.openff import EvaluatorStorage

WATER = Substance.from_components("O")


def shorten_cutoff(storage: EvaluatorStorage) -> SmirnoffForceFieldSource:
    """Give the liquid water another force field: the boxes are too small for the cutoff of the examples'."""
    query = SimulationDataQuery()
    query.substance, query.property_phase = WATER, PropertyPhase.Liquid
    ((matches),) = storage.query(query).values()
    whole = storage.retrieve_force_field(matches[0][1].force_field_id).to_force_field().to_string()
    source = SmirnoffForceFieldSource(re.sub(r'cutoff="[^"]*"', 'cutoff="7.0 * angstrom"', whole))
    force_field_id = storage.store_force_field(source)
    for key, data, path in matches:
        data.force_field_id = force_field_id
        storage.store_object(data, path)
        storage.remove_object(key)
    return source


def options() -> RequestOptions:
    """Ask for nothing but reweighting, and for as much data as there is."""
    schema = Density.default_reweighting_schema(n_effective_samples=2)
    for protocol in schema.workflow_schema.protocol_schemas:
        if protocol.id == "reweight_observable":
            # The other way fails with pymbar 4, in Evaluator itself.
            protocol.inputs[".bootstrap_uncertainties"] = True
    request_options = RequestOptions()
    request_options.calculation_layers = ["ReweightingLayer"]
    request_options.add_schema("ReweightingLayer", "Density", schema)
    return request_options


def estimate(storage: EvaluatorStorage, source: SmirnoffForceFieldSource, port: int) -> Any:
    data_set = PhysicalPropertyDataSet()
    density = unit.gram / unit.milliliter
    data_set.add_properties(
        Density(
            thermodynamic_state=ThermodynamicState(298.5 * unit.kelvin, 1 * unit.atmosphere),
            phase=PropertyPhase.Liquid,
            value=1.0 * density,
            uncertainty=0.1 * density,
            source=MeasurementSource(doi=" "),
            substance=WATER,
        )
    )
    resources = ComputeResources(number_of_threads=1)
    with (
        DaskLocalCluster(number_of_workers=1, resources_per_worker=resources) as backend,
        EvaluatorServer(backend, storage, port=port, working_directory="work"),
    ):
        client = EvaluatorClient(ConnectionOptions(server_port=port))
        request, error = client.request_estimate(data_set, source, options())
        assert error is None, error
        results, error = request.results(synchronous=True, polling_interval=1)
        assert error is None, error
        return results


def main() -> None:
    with EvaluatorStorage("stored_data.h5") as storage:
        storage.update(sys.argv[1])
        source = shorten_cutoff(storage)
        stored_before = len(storage)
        results = estimate(storage, source, int(sys.argv[2]))
        found = {
            "densities": [float(each.value.m_as("g/ml")) for each in results.estimated_properties],
            "exceptions": [str(each) for each in results.exceptions],
            "stored": len(storage) - stored_before,
        }
    print(json.dumps(found))


# A worker process that is spawned imports this file again.
if __name__ == "__main__":
    main()
