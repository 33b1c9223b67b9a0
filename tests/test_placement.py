"""Tests of placement: the host that runs a command, and the commands that wait."""

from __future__ import annotations

from collections import Counter
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from currant.hosts._placement import Capacity, Needs, Place, Placement, Request, shortage


def placement(**capacities: Capacity) -> Placement:
    """Return a placement with open hosts."""
    placed = Placement()
    for name, capacity in capacities.items():
        assert placed.open(name, capacity) == []
    return placed


def slots(number: float, **others: float) -> Capacity:
    """Return the capacity of a host without GPUs."""
    return Capacity({"slots": number, "cpus": 64, **others})


def ask(placed: Placement, *resources: str, host: str | None = None) -> Request:
    """Ask for a place for a command that needs one of each of `resources`, or several."""
    return placed.request(Needs.of(Counter(resources), host))


def place_of(request: Request) -> Place:
    """Return the place of a request, which must have one."""
    assert request.place is not None
    return request.place


def hosts_of(*requests: Request) -> list[str | None]:
    """Return the host of each request; None if it waits."""
    return [None if request.place is None else request.place.host for request in requests]


# ---- which host ----


def test_commands_go_where_the_lowest_share_is_taken() -> None:
    """A host with twice as many slots gets twice as many commands."""
    placed = placement(small=slots(2), large=slots(4))
    assert hosts_of(*(ask(placed) for _ in range(6))) == [
        *("small", "large", "large", "small", "large", "large")
    ]


def test_share_is_that_of_the_scarcest_amount() -> None:
    """A host whose processors are taken gets no more commands, although slots are left."""
    placed = placement(a=slots(100), b=slots(100))
    assert hosts_of(placed.request(Needs.of({"cpus": 32})), *(ask(placed) for _ in range(3))) == [
        *("a", "b", "b", "b")
    ]


def test_without_limits_the_host_with_the_fewest_commands_is_chosen() -> None:
    """Without limits, the share of each host is zero."""
    placed = placement(a=slots(inf), b=slots(inf), c=slots(inf))
    assert hosts_of(*(ask(placed) for _ in range(5))) == ["a", "b", "c", "a", "b"]


def test_scarce_resources_are_taken_last() -> None:
    """Small commands leave GPUs and licenses alone while the hosts are equal otherwise."""
    gpu = Capacity({"slots": 4, "cpus": 64}, ("0", "1"))
    placed = placement(gpu=gpu, license=slots(4, tokens=1), both=slots(4, x=1, y=1), plain=slots(4))
    assert hosts_of(*(ask(placed) for _ in range(4))) == ["plain", "gpu", "license", "both"]
    assert hosts_of(ask(placed, "gpus"), ask(placed, "tokens")) == ["gpu", "license"]


def test_named_host_is_the_only_one() -> None:
    """A pinned command waits for its host although another one is free."""
    placed = placement(a=slots(1), b=slots(1))
    first, second = ask(placed, host="b"), ask(placed, host="b")
    assert hosts_of(first, second) == ["b", None]
    assert placed.give_back(place_of(first)) == [second]
    assert hosts_of(second) == ["b"]


def test_excluded_host_gets_no_command() -> None:
    """A host without the program gets no place for the command."""
    placed = placement(a=slots(1), b=slots(1))
    needs = Needs.of({}, not_on=["a"])
    assert hosts_of(placed.request(needs), placed.request(needs), ask(placed)) == ["b", None, "a"]


# ---- GPUs ----


def test_each_gpu_is_given_to_one_command() -> None:
    """Ids are given in their order; a command that asks for no GPU gets none."""
    placed = placement(a=Capacity({"slots": inf}, ("GPU-x", "GPU-y", "GPU-z")))
    one, two, none = ask(placed, "gpus"), ask(placed, "gpus", "gpus"), ask(placed)
    assert [place_of(each).gpus for each in (one, two, none)] == [
        ("GPU-x",),
        ("GPU-y", "GPU-z"),
        (),
    ]
    placed.give_back(place_of(one))
    assert place_of(ask(placed, "gpus")).gpus == ("GPU-x",)


def test_host_without_gpus_has_none_to_tell_of() -> None:
    """A place without GPUs does not set CUDA_VISIBLE_DEVICES."""
    assert place_of(ask(placement(a=slots(1)))).gpus is None


# ---- who waits ----


def test_first_come_is_first_served() -> None:
    """Requests get their places in the order in which they came."""
    placed = placement(a=slots(1))
    first, *waiting = [ask(placed) for _ in range(4)]
    current = first
    for following in waiting:
        assert placed.give_back(place_of(current)) == [following]
        current = following
    assert placed.waiting == 0


def test_large_request_is_not_overtaken_on_its_hosts() -> None:
    """If small requests overtook a large one, it might wait for ever."""
    placed = placement(a=slots(4), b=slots(2))
    small = [ask(placed, host="a") for _ in range(3)]
    large = placed.request(Needs.of({"slots": 4}))
    behind, elsewhere = ask(placed, host="a"), ask(placed)
    assert hosts_of(large, behind, elsewhere) == [None, None, "b"]
    assert [placed.give_back(place_of(each)) for each in small] == [[], [], [large]]
    assert placed.give_back(place_of(large)) == [behind]


def test_pinned_request_holds_up_its_own_host_alone() -> None:
    """Other requests overtake it on all other hosts."""
    placed = placement(a=slots(1), b=slots(3))
    assert hosts_of(ask(placed), ask(placed, host="a"), ask(placed), ask(placed)) == [
        *("a", None, "b", "b")
    ]


def test_withdrawn_request_frees_the_way() -> None:
    """The request behind it gets a place at once; a second withdrawal has no effect."""
    placed = placement(a=slots(2))
    first = ask(placed)
    large, behind = placed.request(Needs.of({"slots": 2})), ask(placed)
    assert hosts_of(first, large, behind) == ["a", None, None]
    assert placed.withdraw(large) == [behind]
    assert placed.withdraw(large) == ()
    assert placed.withdraw(first) == ()


def test_no_slot_is_taken_if_a_command_asks_for_none() -> None:
    """``resources={"slots": 0}`` is for commands that only watch others."""
    placed = placement(a=slots(1))
    assert hosts_of(ask(placed), placed.request(Needs.of({"slots": 0}))) == ["a", "a"]


# ---- hosts that come and go ----


def test_new_hosts_share_what_has_waited() -> None:
    """The first host that is up does not get all: each request takes the host with most room."""
    placed = Placement()
    waiting = [ask(placed) for _ in range(4)]
    assert placed.open("a", slots(1)) == waiting[:1]
    assert placed.open("b", slots(2)) == waiting[1:3]
    assert hosts_of(*waiting) == ["a", "b", "b", None]


def test_closed_host_gets_nothing_new() -> None:
    """Its places are given back without a successor, and it may open with other amounts."""
    placed = placement(a=slots(1))
    first, second = ask(placed), ask(placed)
    placed.close("a")
    placed.close("a")
    assert placed.give_back(place_of(first)) == []
    assert ask(placed).place is None
    assert placed.open("a", slots(2))[0] is second
    assert placed.waiting == 0


def test_what_a_lost_host_has_stays_taken_until_it_is_given_back() -> None:
    """Its commands may still run, so a GPU is not given to a second one."""
    gpu = Capacity({"slots": inf}, ("0",))
    placed = placement(a=gpu)
    lost = ask(placed, "gpus")
    placed.close("a")
    again = ask(placed, "gpus")
    assert placed.open("a", gpu) == []
    assert again.place is None
    assert placed.give_back(place_of(lost)) == [again]


def test_hopeless_requests_are_given_up() -> None:
    """If no host is left that could hold a request, the request ends; others wait on."""
    placed = placement(a=slots(1), b=slots(2))
    first = ask(placed, host="b")
    large, pinned = placed.request(Needs.of({"slots": 2})), ask(placed, host="b")
    small = ask(placed)
    placed.close("b")
    given_up = placed.give_up({"a": slots(1)})
    assert {request.number: reason for request, reason in given_up} == {
        large.number: "it needs 2 slots, and the most on one host is 1",
        pinned.number: "there is no host 'b'; there are: 'a'",
    }
    assert hosts_of(first, small) == ["b", "a"]
    assert placed.waiting == 0


# ---- what can never be ----


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        (Needs.of({}), None),
        (Needs.of({"gpus": 2, "cpus": 4}), None),
        (Needs.of({"cpus": 8}, "cpu"), None),
        (Needs.of({"gpus": 3}), "it needs 3 gpus, and the most on one host is 2"),
        (Needs.of({"tpus": 1}), "it needs 1 tpus, and the most on one host is 0"),
        (Needs.of({"gpus": 1}, "cpu"), "it needs 1 gpus, and the most on its host 'cpu' is 0"),
        (Needs.of({"gpus": 1}, not_on=["gpu"]), "it needs 1 gpus, and the most on one host is 0"),
        (
            Needs.of({"gpus": 1, "cpus": 8}),
            "it needs 8 cpus, 1 gpus, 1 slots, and no host has all of that",
        ),
        (Needs.of({}, "gp"), "there is no host 'gp'; did you mean 'gpu'? There are: 'gpu', 'cpu'"),
    ],
)
def test_request_that_can_never_fit_is_known_in_advance(needs: Needs, reason: str | None) -> None:
    """The reason names the amount that is missing, and the most that a host has."""
    hosts = {"gpu": Capacity({"slots": 2, "cpus": 4}, ("0", "1")), "cpu": slots(2, cpus=8)}
    assert shortage(needs, hosts) == reason


# ---- all of it, against a model without any index ----

HOSTS = {
    "a": slots(2, cpus=2),
    "b": slots(3, cpus=1),
    "g": Capacity({"slots": 2, "cpus": 4}, ("0", "1")),
}

NEEDS = [
    Needs.of({}),
    Needs.of({"slots": 2}),
    Needs.of({"cpus": 1}),
    Needs.of({"cpus": 3}),
    Needs.of({"gpus": 1}),
    Needs.of({"gpus": 2}),
    Needs.of({}, "a"),
    Needs.of({"cpus": 2}, "g"),
    Needs.of({}, not_on=["g"]),
]


class Model:
    """A simple placement, which looks at all requests in their order, and at all hosts."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.waiting: list[tuple[int, Needs]] = []
        self.taken: dict[int, tuple[str, Needs]] = {}

    def left(self, host: str) -> Counter[str]:
        """Return how much of a resource is left on a host."""
        capacity = HOSTS[host]
        left = Counter({name: int(capacity.of(name)) for name in ("slots", "cpus", "gpus")})
        for place, needs in self.taken.values():
            if place == host:
                left.subtract(dict(needs.amounts))
        return left

    def rank(self, host: str) -> tuple[float, int, int, int]:
        """Return the rank of a host among others."""
        capacity, left = HOSTS[host], self.left(host)
        totals = {name: capacity.of(name) for name in left if capacity.of(name)}
        share = max(1 - left[name] / total for name, total in totals.items())
        running = sum(place == host for place, _ in self.taken.values())
        return (round(share, 9), running, int(bool(capacity.gpus)), list(HOSTS).index(host))

    def fill(self) -> None:
        """Give all places that can be given."""
        blocked: set[str] = set()
        for number, needs in list(self.waiting):
            able = [
                host
                for host in self.open
                if needs.may_be_on(host) and HOSTS[host].holds(needs) and host not in blocked
            ]
            fitting = [
                host
                for host in able
                if all(self.left(host)[name] >= amount for name, amount in needs.amounts)
            ]
            if fitting:
                self.waiting.remove((number, needs))
                self.taken[number] = min(fitting, key=self.rank), needs
                return self.fill()
            blocked.update(able)
        return None


STEPS = st.one_of(
    st.tuples(st.just("request"), st.integers(0, len(NEEDS) - 1)),
    st.tuples(st.just("request"), st.just(0)),
    st.tuples(st.sampled_from(["give back", "withdraw"]), st.integers(0, 30)),
    st.tuples(st.sampled_from(["open", "close"]), st.sampled_from(sorted(HOSTS))),
)


class Comparison:
    """A placement and its model, which take the same steps."""

    def __init__(self) -> None:
        self.placed, self.model = Placement(), Model()
        self.requests: list[Request] = []
        for host in HOSTS:
            self.do("open", host)

    def do(self, step: str, what: int | str) -> None:
        """Take a step in both placements."""
        before = {each.number for each in self.requests if each.place is not None}
        given = self._do(step, what)
        self.model.fill()
        if step != "request":
            assert {each.number for each in given} == {
                each.number
                for each in self.requests
                if each.place is not None and each.number not in before
            }

    def _do(self, step: str, what: int | str) -> list[Request]:
        placed, model = self.placed, self.model
        if step == "request":
            needs = NEEDS[int(what)]
            request = placed.request(needs)
            self.requests.append(request)
            model.waiting.append((request.number, needs))
        elif step == "give back" and model.taken:
            number = sorted(model.taken)[int(what) % len(model.taken)]
            del model.taken[number]
            return list(placed.give_back(place_of(self.requests[number])))
        elif step == "withdraw" and model.waiting:
            entry = model.waiting.pop(int(what) % len(model.waiting))
            return list(placed.withdraw(self.requests[entry[0]]))
        elif step == "open":
            model.open.add(str(what))
            return list(placed.open(str(what), HOSTS[str(what)]))
        elif step == "close":
            model.open.discard(str(what))
            placed.close(str(what))
        return []

    def check(self) -> None:
        """Compare both placements, and check that no host has given more than it has."""
        placed, model = self.placed, self.model
        waiting = {number for number, _ in model.waiting}
        for request in self.requests:
            assert (request.number in waiting) == (request.place is None) or (
                request.number not in model.taken
            )
            if request.number in model.taken:
                assert place_of(request).host == model.taken[request.number][0]
        assert placed.waiting == len(waiting)
        for host in HOSTS:
            assert min(model.left(host).values()) >= 0
            running = [self.requests[n] for n, (place, _) in model.taken.items() if place == host]
            assert placed.running(host) == len(running)
            gpus = [gpu for each in running for gpu in place_of(each).gpus or ()]
            assert len(gpus) == len({*gpus})


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=40))
def test_placement_equals_a_model_that_looks_at_everything(
    steps: list[tuple[str, int | str]],
) -> None:
    """No host gives more than it has, requests do not overtake, and all is given back."""
    comparison = Comparison()
    for step in steps:
        comparison.do(*step)
        comparison.check()
    # When all that runs ends, again and again, everything has had its turn: nothing starves.
    for host in HOSTS:
        comparison.do("open", host)
    while comparison.model.taken:
        comparison.do("give back", 0)
        comparison.check()
    assert comparison.placed.waiting == 0
    assert all(comparison.placed.running(host) == 0 for host in HOSTS)


def test_queues_that_have_ended_leave_nothing_behind() -> None:
    """A service may start commands for years on hosts that are always full."""
    placed = placement(a=slots(1), b=slots(1))
    for host in ("a", "b"):
        ask(placed, host=host)
    for number in range(1000):
        placed.withdraw(placed.request(Needs.of({"slots": 1, f"x{number}": 0, "cpus": number % 9})))
    assert not placed._queues
    assert all(len(host._heads) < 10 and not host.queues for host in placed._hosts.values())
