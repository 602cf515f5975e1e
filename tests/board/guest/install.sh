# The first boot: the package, installed by apt; the first configuration and person; doctor. Sourced by stage.sh.
# shellcheck shell=bash
# shellcheck source=tests/board/guest/lib.sh
source /mnt/host/guest/lib.sh

# What a person does from the package to a green doctor, as docs/install.md says it: each step is counted and timed.
step() {
    local begun
    begun=$(uptime_cs)
    "$@" || return
    echo "$* ($((($(uptime_cs) - begun) / 100)) s)" >>"$hardware/steps"
    echo "step $(wc -l <"$hardware/steps"): $(tail -n 1 "$hardware/steps")"
}

package() {
    export DEBIAN_FRONTEND=noninteractive
    step apt-get install -y -qq --no-install-recommends "$host/facelatch.deb" >"$hardware/apt.log" || { cat "$hardware/apt.log"; false; }
    tail -n 1 "$hardware/apt.log"
    facelatch --version
}

put_in_place() {
    id facelatch
    id -nG facelatch | grep -qw video
    id -nG facelatch | grep -qw gpio
    [ "$(stat -c '%a %U' /etc/facelatch)" = "755 root" ]
    # The rules, in force without a restart of the machine.
    [ "$(stat -c '%a %G' "$(<"$hardware/chip")")" = "660 gpio" ] || fail "$(ls -l "$(<"$hardware/chip")")"
    [ "$(systemctl is-enabled facelatch.service || true)" = disabled ] || fail "enabled, and nobody said so"
    [ "$(systemctl is-active facelatch.service || true)" = inactive ] || fail "started, and nobody said so"
}

# What this door has, as somebody would answer it.
answers() {
    cat <<END
camera.device = "$(node cap)"
strike.line = "strike"
inputs.exit_button = "button"
liveness.opens = "photograph"
person.name = "Ada"
person.consent = "a test"
person.photos = ["$host/people/ada-1.jpg"]
END
}
first_boot() {
    answers >"$hardware/answers.toml"
    step facelatch setup --answers "$hardware/answers.toml"
    figure "steps from the package to a green doctor: $(wc -l <"$hardware/steps")"
    grep -qx 'line = "strike"' /etc/facelatch/facelatch.toml
    [ "$(stat -c '%a %U' /etc/facelatch/facelatch.key)" = "600 root" ]
    # From here on with the time that an emulator needs, and the small network, for which she has to come by once more.
    sed "s#@CHIP@#$(<"$hardware/chip")#" "$host/guest/door.toml" >/etc/facelatch/facelatch.toml
    facelatch enroll Ada "$host/people/ada-1.jpg"
    facelatch doctor
}

# The camera's driver comes after the service, and with it what the kernel calls cameras: they are allowed all the same.
start() {
    systemctl stop board-picture.service
    rm /dev/door-camera
    # With all that was loaded for it, the last first; what something else uses stays.
    modprobe --show-depends vivid | sed -n 's|^insmod .*/\([^ .]*\)\.ko.*|\1|p' | tac | xargs -n 1 rmmod 2>/dev/null || true
    if grep -q video4linux /proc/devices; then fail "the class of cameras is still there"; fi
    step systemctl enable --quiet --now facelatch.service
    within 120 status_has '"camera":"lost"'
    camera_driver
    within 120 status_has '"camera":"ok"'
    facelatch status
}

# Without the man page, as this machine has no man.
verified() {
    local said
    said=$(systemd-analyze verify --man=no facelatch.service 2>&1) || said="$said (exit status $?)"
    [ -z "$said" ] || fail "systemd-analyze verify says: $said"
}

exposure() {
    local figure
    systemd-analyze security --no-pager facelatch.service | tail -1
    figure=$(systemd-analyze security --no-pager facelatch.service | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
    figure "exposure by systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'): $figure"
    awk -v figure="$figure" 'BEGIN { exit !(figure != "" && figure <= 1.5) }'
}

run_install() {
    run_case "the package is installed by apt" package
    run_case "user, groups, rules and modes are right, and nothing runs yet" put_in_place
    run_case "facelatch setup: configuration, key, a person, and doctor is green" first_boot
    run_case "the service starts and says that it is ready" start
    run_case "systemd-analyze verify is silent" verified
    run_case "systemd-analyze security is at most 1.5" exposure
}
