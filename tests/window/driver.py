"""Drive a real Blender window as a person does: look for a button, press it, wait, look at the result.

Runs inside Blender, beside a scenario module. A scenario is a generator: each `yield seconds` lets Blender's event loop
run, since simulated events, timers and drawing happen only then.

Buttons have no public positions. The pointer is moved over the sidebar and Blender is asked which operator lies under
it (the command behind "Copy Python Command"), so a changed layout does not break a test.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import bpy

OUT = Path(os.environ["WINDOW_OUT"])
MODULE = "bl_ext.user_default.latent_lathe"
STEP = 12  # pixels between two looks down the sidebar; a row is 20 high

Steps = Generator[float, None, object]


class HoldRecorder:
    """How long the add-on's Python held Blender's main thread, each time Blender called into it.

    A profile function sees every call and return on this thread. A hold is the processor time used, and the time spent
    asleep; time in which this thread, or the add-on's thread that had Python's lock, waited for a processor is taken
    off, since it tells of the machine and not of the add-on.
    """

    def __init__(self) -> None:
        self.holds: list[tuple[float, str]] = []  # seconds, what was called and what took long in it
        self.on = True
        self.pressed: Counter[str] = Counter()  # operator class -> how often Blender executed it
        self._calls: list[tuple[str, float]] = []  # the add-on's functions that are running: name, start
        self._slow: list[str] = []
        self._start = _clocks()
        sys.setprofile(self._profile)

    def worst(self, count: int = 10) -> list[tuple[float, str]]:
        return sorted(self.holds, reverse=True)[:count]

    def _profile(self, frame, event, _argument) -> None:
        if event not in ("call", "return") or "latent_lathe/addon" not in frame.f_code.co_filename:
            return
        if event == "call":
            if not self._calls:
                self._start, self._slow = _clocks(), []
            owner = frame.f_locals.get("self") or frame.f_locals.get("cls")
            kind = getattr(owner, "__name__", type(owner).__name__) if owner is not None else ""
            if frame.f_code.co_name in ("execute", "invoke"):
                self.pressed[kind] += 1
            self._calls.append((f"{kind} {frame.f_code.co_qualname}".strip(), time.perf_counter()))
        elif self._calls:
            name, started = self._calls.pop()
            if time.perf_counter() - started > 0.01:
                self._slow.append(f"{name} {time.perf_counter() - started:.3f}")
            if not self._calls and self.on:
                self.holds.append((self._hold(), " < ".join(self._slow) or name))

    def _hold(self) -> float:
        """Seconds of the call that ends now."""
        wall, used, waited, others = (now - then for now, then in zip(_clocks(), self._start))
        return used + max(0.0, wall - used - waited - others)


def _clocks() -> tuple[float, float, float, float]:
    """Seconds: on the wall; used by this thread; that it, and that the add-on's threads, waited for a processor."""
    others = (thread.native_id for thread in threading.enumerate() if thread.name.startswith("lathe-"))
    return (
        time.perf_counter(),
        time.thread_time(),
        _waited(threading.get_native_id()),
        sum(_waited(thread) for thread in others if thread),
    )


def _waited(thread: int) -> float:
    try:
        with open(f"/proc/self/task/{thread}/schedstat") as file:
            return int(file.read().split()[1]) * 1e-9
    except OSError:  # the thread has ended
        return 0.0


class Window:
    """The window, its 3D viewport and its sidebar."""

    def __init__(self) -> None:
        self.results: dict[str, object] = {}
        self.recorder = HoldRecorder()
        self._seen: dict[str, tuple[int, int]] = {}  # "bpy.ops.x.y(", or a property -> where it was last

    @property
    def window(self):
        return bpy.context.window_manager.windows[0]

    @property
    def area(self):
        areas = [area for area in self.window.screen.areas if area.type == "VIEW_3D"]
        return max(areas, key=lambda area: area.width * area.height)

    @property
    def sidebar(self):
        return next(region for region in self.area.regions if region.type == "UI")

    @property
    def session(self):
        """The add-on's own account of the backend and the jobs."""
        return sys.modules[f"{MODULE}.addon.link.session"].session

    @property
    def preferences(self):
        return bpy.context.preferences.addons[MODULE].preferences

    def open_tab(self) -> Steps:
        """Open the sidebar's tab; Blender knows the tabs only once it has drawn them."""
        deadline = time.monotonic() + 20
        while getattr(self.sidebar, "active_panel_category", "") != "Lathe":
            if time.monotonic() > deadline:
                raise TimeoutError("the sidebar has no tab Lathe")
            self.area.spaces.active.show_region_ui = True
            yield 0.3
            with contextlib.suppress(TypeError):  # no such tab yet
                self.sidebar.active_panel_category = "Lathe"
        yield 0.7

    def note(self, name: str, value: object) -> None:
        """Write a result where the test outside finds it, at once."""
        self.results[name] = value
        self.results["holds"] = self.recorder.worst()
        (OUT / "results.json").write_text(json.dumps(self.results, indent=1))
        print(f"{name}: {value}", flush=True)

    def screenshot(self, name: str) -> Steps:
        """Write OUT/name.png of the whole window. Pixels follow a change by up to half a second."""
        yield 0.6
        subprocess.run(["import", "-window", "root", str(OUT / f"{name}.png")], check=True)

    def move(self, x: int, y: int) -> None:
        self.window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)

    def click(self, x: int, y: int) -> Steps:
        """Left-click at window pixel (x, y), y from the bottom."""
        self.move(x, y)
        yield 0.1
        self.window.event_simulate(type="LEFTMOUSE", value="PRESS", x=x, y=y)
        yield 0.05
        self.window.event_simulate(type="LEFTMOUSE", value="RELEASE", x=x, y=y)
        yield 0.3

    def key(self, kind: str, **modifiers: bool) -> Steps:
        """Press a key over the viewport."""
        region = next(region for region in self.area.regions if region.type == "WINDOW")
        x, y = region.x + region.width // 3, region.y + region.height // 2
        self.move(x, y)
        yield 0.1
        self.window.event_simulate(type=kind, value="PRESS", x=x, y=y, **modifiers)
        self.window.event_simulate(type=kind, value="RELEASE", x=x, y=y, **modifiers)
        yield 0.5

    def under_pointer(self) -> str:
        """Return the Python of the button under the pointer: "bpy.ops.lathe.preview()", or an empty string."""
        manager = bpy.context.window_manager
        manager.clipboard = ""
        with bpy.context.temp_override(window=self.window, area=self.area, region=self.sidebar):
            try:
                bpy.ops.ui.copy_python_command_button()
            except RuntimeError:
                return ""
        return manager.clipboard

    def property_under_pointer(self) -> str:
        """Return the path of the property under the pointer: "lathe.latent.seed_a", or an empty string."""
        manager = bpy.context.window_manager
        manager.clipboard = ""
        with bpy.context.temp_override(window=self.window, area=self.area, region=self.sidebar):
            try:
                bpy.ops.ui.copy_data_path_button()
            except RuntimeError:
                return ""
        return manager.clipboard

    def find(self, command: str) -> Generator[float, None, tuple[int, int]]:
        """Return a point on the button whose command starts with "bpy.ops.<command>(", scrolling if need be."""

        def look() -> str:
            return self.under_pointer().partition("(")[0] + "("

        return (yield from self._search(f"bpy.ops.{command}(", (0.25, 0.9, 0.65), look))

    def find_property(self, path: str) -> Generator[float, None, tuple[int, int]]:
        """Return a point on the slider of a property, scrolling if need be."""
        return (yield from self._search(path, (0.65,), self.property_under_pointer))

    def _search(
        self, wanted: str, parts: tuple[float, ...], look: Callable[[], str]
    ) -> Generator[float, None, tuple[int, int]]:
        """Look down the sidebar at these parts of its width.

        What was seen on the way is remembered, and looked at again before it is believed.
        """
        for turn in range(13):  # down, then up beyond where it began
            if wanted in self._seen and (yield from self._is_at(*self._seen[wanted], wanted, look)):
                return self._seen[wanted]
            region = self.sidebar
            for part in parts:
                x = region.x + int(part * (region.width - 24))
                for y in range(region.y + region.height - 30, region.y + 4, -STEP):
                    self.move(x, y)
                    yield 0.03
                    found = look()
                    if found in ("", "("):
                        continue
                    self._seen[found] = (x, y)
                    if found == wanted:
                        for place in (y, y + STEP, y - STEP):  # the answer may still be that of the last place
                            if (yield from self._is_at(x, place, wanted, look)):
                                self._seen[wanted] = (x, place)
                                return x, place
            yield from self.scroll(5 if turn < 4 else -5)
        raise LookupError(f"there is no {wanted} in the sidebar")

    def drag(self, path: str, distance: int, during: Callable[[], None] = lambda: None) -> Steps:
        """Drag the slider of a property to the right by so many pixels, for a second, calling `during` on the way."""
        x, y = yield from self.find_property(path)
        self.window.event_simulate(type="LEFTMOUSE", value="PRESS", x=x, y=y)
        yield 0.05
        for step in range(1, 11):
            self.move(x + distance * step // 10, y)
            during()
            yield 0.1
        self.window.event_simulate(type="LEFTMOUSE", value="RELEASE", x=x + distance, y=y)
        yield 0.05

    def scroll(self, steps: int) -> Steps:
        """Scroll the sidebar down by so many steps of the wheel, up if below zero. What was seen is elsewhere then."""
        with bpy.context.temp_override(window=self.window, area=self.area, region=self.sidebar):
            for _ in range(abs(steps)):
                (bpy.ops.view2d.scroll_down if steps > 0 else bpy.ops.view2d.scroll_up)()
        yield 0.4

    def _is_at(self, x: int, y: int, wanted: str, look: Callable[[], str]) -> Generator[float, None, bool]:
        """Come from outside and look: a button that moved away stays active until the pointer does too."""
        self.move(self.area.x + 60, self.area.y + 60)
        yield 0.1
        self.move(x, y)
        yield 0.15
        return look() == wanted

    def press(self, command: str) -> Steps:
        """Find a button and press it; once more if the layout moved under the pointer meanwhile."""
        operator = command.replace("lathe.", "LATHE_OT_")
        before = self.recorder.pressed[operator]
        for _ in range(3):
            yield from self.click(*(yield from self.find(command)))
            for _ in range(60):
                if self.recorder.pressed[operator] > before:
                    return
                yield 0.05
        raise LookupError(f"pressing {command} did nothing")

    def until(self, condition: Callable[[], object], what: str, seconds: float = 60.0) -> Generator[float, None, float]:
        """Wait until `condition()` holds. Returns the seconds it took."""
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > seconds:
                raise TimeoutError(f"{what}: not within {seconds:g} s; the backend is {self.session.line!r}")
            yield 0.02
        return time.monotonic() - started

    def until_ready(self) -> Generator[float, None, float]:
        """Wait for the backend. Returns the seconds it took."""

        def ready() -> bool:
            if self.session.state == "failed":
                raise RuntimeError(self.session.line)
            return self.session.state == "ready"

        return (yield from self.until(ready, "the backend is ready", 120))


def drive(scenario: Callable[[Window], Steps]) -> None:
    """Run a scenario from Blender's timers and end Blender with 0 if it came to its end."""
    window = Window()
    run = scenario(window)

    def tick() -> float:
        try:
            return next(run)
        except StopIteration:
            window.note("ended", True)
            print("END ok", flush=True)
            _exit(0)
        except BaseException:
            traceback.print_exc()
            window.note("error", traceback.format_exc())
            subprocess.run(["import", "-window", "root", str(OUT / "error.png")], check=False)
            _exit(1)
        return 0.0

    bpy.app.timers.register(tick, first_interval=0.5, persistent=True)


def _exit(code: int) -> None:
    """Blender's own exit status does not follow a failure inside a timer."""
    sys.stdout.flush()
    os._exit(code)
