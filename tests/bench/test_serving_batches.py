"""How TensorFlow Serving's batching parameters follow from measured times."""

from bench.serving_batches import derive
from serving.batches import MOST_CLOUDS


def derived(seconds, rates, most_points=400_000, longest=2000, queue_seconds=5.0):
    return derive(seconds, rates, 2048, longest, most_points, queue_seconds)


def times_that_grow(per_call, per_cloud, points=2048, batches=(1, 2, 4, 8, 16, 32)):
    return {(points, batch): per_call + per_cloud * batch for batch in batches}


def test_where_a_call_costs_as_much_as_many_clouds_batches_are_large_and_worth_waiting_for():
    found = derived(times_that_grow(0.030, 0.001), {1: 500.0, 2: 520.0, 4: 530.0})
    # 32 clouds in 62 ms; 16 in 46 ms are but 0.67 of that rate.
    assert found.max_batch_size == 32
    assert found.batch_timeout_micros == 3100
    # Two threads reach 0.98 of the best rate, one 0.94.
    assert found.num_batch_threads == 2
    assert found.max_enqueued_batches == int(5.0 * 520.0 / 32)


def test_where_company_saves_nothing_nobody_waits_for_it():
    found = derived(times_that_grow(0.0, 0.1), {1: 10.0, 2: 10.1})
    assert (found.batch_timeout_micros, found.num_batch_threads) == (0, 1)
    # No smaller than the requests that the client makes, which would be refused.
    assert found.max_batch_size == MOST_CLOUDS


def test_a_size_of_cloud_that_needs_a_larger_batch_gets_it():
    seconds = times_that_grow(0.0, 0.1) | times_that_grow(0.030, 0.001, points=64)
    assert derived(seconds, {1: 10.0}).max_batch_size == 32


def test_no_batch_is_larger_than_the_model_takes_with_the_longest_cloud_in_it():
    seconds, rates = times_that_grow(0.030, 0.001), {1: 500.0}
    for longest, batch in ((100_000, 4), (400_000, 1), (500_000, 1)):
        assert derived(seconds, rates, longest=longest).max_batch_size == batch


def test_a_slow_machine_still_queues_a_batch_for_each_thread():
    found = derived(times_that_grow(0.0, 60.0), {1: 0.01, 4: 0.04})
    assert found.max_enqueued_batches == found.num_batch_threads == 4


def test_the_file_names_each_parameter_once_and_pads():
    found = derived(times_that_grow(0.030, 0.001), {1: 500.0})
    lines = found.text("two\nlines").splitlines()
    assert lines[:2] == ["# two", "# lines"]
    assert lines[2] == "max_batch_size { value: 32 }"
    assert lines[-1] == "pad_variable_length_inputs: true"
    assert sorted(line.split()[0] for line in lines[2:-1]) == sorted(vars(found))
