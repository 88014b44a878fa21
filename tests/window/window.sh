#!/bin/bash
# window.sh ROOT OUT ZIP DRIVER PYTHON [BLENDER_ARGUMENTS...]
# Runs DRIVER (a Python file in OUT) inside a real Blender window: Debian's Blender on a virtual screen with Mesa's
# software GL, with the extension ZIP installed and enabled by Blender's own command. Root on a Debian host.
#   ROOT    folder of the small Debian that holds Blender; made by the first run (2 to 5 minutes, 1.3 GB), then kept
#   OUT     folder of this run; has the same path inside, so paths mean the same on both sides
#   PYTHON  a Python of this machine with the backend's packages; OUT/python runs it from inside, as "existing Python"
# Every mount lives in a private mount namespace and goes with it. The window shares the host's loopback and process
# ids. Writes OUT/blender.pid. Exit status: Blender's own; a driver ends with os._exit(code).
#   LIMIT=300      seconds allowed to Blender
#   SIZE=1280x960  the screen
set -euo pipefail
if [ "${WINDOW_NS:-}" != 1 ]; then exec env WINDOW_NS=1 unshare -m --propagation private "$0" "$@"; fi
ROOT=$(realpath -m "$1"); OUT=$(realpath -m "$2"); ZIP=$3; DRIVER=$4; PYTHON=$5; shift 5
SUITE=trixie  # Blender 4.3.2 with Python 3.13
SIZE=${SIZE:-1280x960}
export DEBIAN_FRONTEND=noninteractive
say() { echo "window: $* (${SECONDS} s)"; }
fail() { echo "window: $1" >&2; [ ! -f "${2:-}" ] || tail -n 15 "$2" >&2; exit 2; }

make_root() {
  local mirror
  mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 | tr -d ' ' || true)
  [ -n "$mirror" ] || fail "no Debian mirror in this host's apt sources"
  if ! command -v debootstrap >/dev/null; then
    apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends debootstrap >/dev/null || fail "debootstrap cannot be installed"
  fi
  rm -rf "$ROOT"; mkdir -p "$(dirname "$ROOT")"
  say "making a Debian with Blender in $ROOT, once"
  debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$ROOT" "$mirror" > "$ROOT.debootstrap.log" 2>&1 || fail "debootstrap failed" "$ROOT.debootstrap.log"
  printf '#!/bin/sh\nexit 101\n' > "$ROOT/usr/sbin/policy-rc.d"; chmod +x "$ROOT/usr/sbin/policy-rc.d"
  printf 'path-exclude=/usr/share/man/*\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/locale/*\n' > "$ROOT/etc/dpkg/dpkg.cfg.d/01nodoc"
  cp /etc/apt/apt.conf.d/99* "$ROOT/etc/apt/apt.conf.d/" 2>/dev/null || true
  ln -sf /proc/self/mounts "$ROOT/etc/mtab"
  mount -t proc proc "$ROOT/proc"
  { chroot "$ROOT" apt-get update -q && chroot "$ROOT" apt-get install -y -q --no-install-recommends \
      blender python3-numpy xvfb x11-utils imagemagick libgl1 libegl1 libgl1-mesa-dri libglx-mesa0 libegl-mesa0 \
      fonts-dejavu-core; } > "$ROOT.apt.log" 2>&1 || fail "installing Blender failed" "$ROOT.apt.log"
  chroot "$ROOT" apt-get clean
  touch "$ROOT/.ready"; say "Debian with Blender is ready"
}

mkdir -p "$(dirname "$ROOT")"
exec 9> "$ROOT.lock"; flock 9  # one run at a time in one ROOT
[ -e "$ROOT/.ready" ] || make_root
mountpoint -q "$ROOT/proc" || mount -t proc proc "$ROOT/proc"
mkdir -p "$ROOT/host" "$ROOT/tmp/.X11-unix" "$OUT/tmp" "$ROOT$OUT"; chmod 1777 "$ROOT/tmp/.X11-unix"
mount --rbind / "$ROOT/host"
mount --bind "$OUT" "$ROOT$OUT"

cat > "$OUT/python" <<END
#!/bin/sh
# The host's Python, run from inside the window's Debian with the same folder, environment and process id.
exec /usr/sbin/chroot /host /usr/bin/env -C "\$PWD" "$PYTHON" "\$@"
END
chmod +x "$OUT/python"

inside() {
  chroot "$ROOT" env -i PATH=/usr/bin:/bin:/usr/sbin LANG=C.UTF-8 HOME="$OUT" TMPDIR="$OUT/tmp" XDG_RUNTIME_DIR="$OUT/tmp" \
    LIBGL_ALWAYS_SOFTWARE=1 DISPLAY=":$(cat "$OUT/display" 2>/dev/null || echo none)" BLENDER_USER_RESOURCES="$OUT/user" \
    WINDOW_OUT="$OUT" "$@"
}

rm -f "$OUT/display"
if [ ! -d "$OUT/user" ]; then
  cp "$ZIP" "$OUT/extension.zip"
  inside blender -b --command extension install-file -r user_default --enable "$OUT/extension.zip"
  inside blender -b --python-expr "import bpy; p = bpy.context.preferences; p.view.show_splash = False; p.view.render_display_type = 'AREA'; p.use_preferences_save = False; bpy.ops.wm.save_userpref()" | grep -i writing
  say "extension installed"
fi

chroot "$ROOT" Xvfb -displayfd 3 -screen 0 "${SIZE}x24" +extension GLX -nolisten tcp -noreset 3> "$OUT/display" > "$OUT/xvfb.log" 2>&1 9>&- &
xvfb=$!
trap 'kill $xvfb 2>/dev/null || true' EXIT
for _ in $(seq 100); do [ -s "$OUT/display" ] && inside xdpyinfo >/dev/null 2>&1 && break; sleep 0.1; done
[ -s "$OUT/display" ] || fail "the virtual screen did not start" "$OUT/xvfb.log"
say "screen :$(cat "$OUT/display")"

width=${SIZE%x*}; height=${SIZE#*x}
status=0
inside timeout -k 5 "${LIMIT:-300}" sh -c 'echo $$ > "$WINDOW_OUT/blender.pid"; exec blender "$@"' sh \
  --enable-event-simulate --window-geometry 0 0 "$width" "$height" --python-exit-code 1 "$@" --python "$OUT/$DRIVER" 9>&- || status=$?
say "Blender ended with $status"
exit $status
