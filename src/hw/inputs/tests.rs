use super::*;
use crate::hw::clock::BootClock;
use crate::sim::clock::SimClock;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A button's line, pulled down until its pull-up is switched on and has charged the wire 5 ms later.
struct Wire {
    clock: SimClock,
    charged_at: Cell<Option<Instant>>,
    pressed_at: Option<Instant>,
    held: Rc<()>,
}

/// A request, and the level that the kernel took in it: `true` while the line is low.
struct Taken(bool, Rc<()>);

impl Wire {
    fn new(pressed_at: Option<Instant>) -> Self {
        Self { clock: SimClock::default(), charged_at: Cell::new(None), pressed_at, held: Rc::default() }
    }

    fn request(&self) -> Result<Taken, &'static str> {
        if Rc::strong_count(&self.held) > 1 {
            return Err("busy");
        }
        let now = self.clock.now().mono;
        let charged_at = self.charged_at.get().unwrap_or(now + Duration::from_millis(5));
        self.charged_at.set(Some(charged_at));
        Ok(Taken(now < charged_at || self.pressed_at.is_some_and(|at| now >= at), Rc::clone(&self.held)))
    }

    fn opens(&self, debounce: Duration) -> (bool, Duration) {
        let began = self.clock.now().mono;
        let Taken(level, _held) = settled(&self.clock, debounce, || self.request(), || self.request()).unwrap();
        (level, self.clock.now().mono.since(began))
    }
}

#[test]
fn a_line_that_is_charged_while_it_settles_was_never_pressed_and_a_button_that_is_held_was() {
    let ms = Duration::from_millis;
    for (debounce, settling) in [(0, 20), (1, 20), (20, 40), (1000, 2000)] {
        let untouched = Wire::new(None);
        assert!(untouched.request().unwrap().0, "the level of the first moment is wrong");
        assert_eq!(Wire::new(None).opens(ms(debounce)), (false, ms(settling)));
        assert_eq!(Wire::new(Some(Instant::BOOT)).opens(ms(debounce)), (true, ms(settling)));
    }
    let pressed_meanwhile = Wire::new(Some(SimClock::default().now().mono + ms(30)));
    assert_eq!(pressed_meanwhile.opens(ms(20)), (true, ms(40)));
}

/// What a chip grants that refuses in this way, with all that it was asked for.
fn asked(debounce_ms: u64, refuses: impl Fn(Ask) -> Option<GpioError>) -> (Result<Ask, GpioError>, Vec<Ask>) {
    let config: InputsConfig = toml::from_str("chip = \"/dev/gpiochip2\"\nexit_button = { line = 3 }").unwrap();
    let (_, wire) = config.wires().next().unwrap();
    let wire = WireConfig { debounce: Duration::from_millis(debounce_ms), ..wire };
    let asked = RefCell::new(Vec::new());
    let got = granted(&wire, |ask| {
        asked.borrow_mut().push(ask);
        refuses(ask).map_or(Ok(()), Err)
    });
    (got.map(|((), ask)| ask), asked.into_inner())
}

#[test]
fn a_line_without_an_interrupt_is_read_and_one_that_the_kernel_does_not_debounce_tells_of_its_edges() {
    let (chip, line) = (PathBuf::from("/dev/gpiochip2"), LineId::Offset(3));
    let no_edges = || GpioError::NoEdges { chip: chip.clone(), line: line.clone() };
    let other = || GpioError::Other { chip: chip.clone(), line: line.clone(), reason: "not supported".to_owned() };
    let expander = |ask: Ask| (ask != Ask::Level).then(no_edges);
    assert_eq!(asked(20, expander), (Ok(Ask::Level), vec![Ask::Debounced, Ask::Level]));
    assert_eq!(asked(0, expander), (Ok(Ask::Level), vec![Ask::Edges, Ask::Level]));
    let old = |ask: Ask| (ask == Ask::Debounced).then(other);
    assert_eq!(asked(20, old), (Ok(Ask::Edges), vec![Ask::Debounced, Ask::Edges]));
    assert_eq!(asked(0, old), (Ok(Ask::Edges), vec![Ask::Edges]));
    // Kernels before 5.10 refuse to debounce any line, and then the edges of this one.
    let old_expander = |ask: Ask| old(ask).or_else(|| expander(ask));
    assert_eq!(asked(20, old_expander).1, [Ask::Debounced, Ask::Edges, Ask::Level]);
    let gone = |_: Ask| Some(GpioError::NoChip { chip: chip.clone() });
    assert_eq!(asked(20, gone), (Err(GpioError::NoChip { chip: chip.clone() }), vec![Ask::Debounced]));
}

#[test]
fn a_line_that_tells_of_no_edge_is_read_every_ten_milliseconds() {
    let ms = Duration::from_millis;
    assert_eq!([nap(ms(250), None, true), nap(ms(250), Some(ms(4)), true)], [ms(250), ms(4)]);
    assert_eq!([nap(ms(250), None, false), nap(ms(250), Some(ms(20)), false)], [ms(10), ms(10)]);
    assert_eq!([nap(ms(250), Some(ms(4)), false), nap(ms(3), None, false)], [ms(4), ms(3)]);
}

#[test]
fn a_bouncing_contact_counts_once_it_rests() {
    let ms = Instant::from_millis;
    let mut debounce = Debounce::new(Duration::from_millis(20));
    assert_eq!(debounce.sample(ms(0), false), Some(false), "the first level counts at once");
    for (at, level) in [(10, true), (12, false), (14, true), (33, true)] {
        assert_eq!(debounce.sample(ms(at), level), Some(false), "at {at} ms");
    }
    assert_eq!(debounce.settles_at(), Some(ms(34)));
    assert_eq!(debounce.sample(ms(34), true), Some(true));
    assert_eq!(debounce.settles_at(), None);
}

#[test]
fn a_spike_shorter_than_the_period_never_counts() {
    let ms = Instant::from_millis;
    let mut debounce = Debounce::new(Duration::from_millis(20));
    debounce.sample(ms(0), false);
    debounce.sample(ms(5), true);
    assert_eq!(debounce.sample(ms(30), false), Some(false));
    assert_eq!(debounce.sample(ms(60), true), Some(false), "a new spike starts anew");
}

#[test]
fn an_edge_between_two_equal_samples_starts_the_period_anew() {
    let ms = Instant::from_millis;
    let mut debounce = Debounce::new(Duration::from_millis(20));
    debounce.sample(ms(0), false);
    debounce.sample(ms(5), true);
    debounce.disturb();
    assert_eq!(debounce.sample(ms(26), true), Some(false));
    assert_eq!(debounce.sample(ms(46), true), Some(true));
}

#[test]
fn the_defaults_are_a_button_to_ground_and_a_contact_that_a_cut_wire_opens() {
    let config: InputsConfig =
        toml::from_str("exit_button = { line = 27 }\ndoor_contact = { line = \"GPIO22\" }").unwrap();
    let (button, contact) = (config.exit_button.unwrap(), config.door_contact.unwrap());
    assert_eq!((button.pressed, button.bias), (Level::Low, BiasConfig::PullUp));
    assert_eq!((contact.open, contact.bias), (Level::High, BiasConfig::PullUp));
    assert_eq!(config.debounce_ms, 20);
    assert!(toml::from_str::<InputsConfig>("exit_button = { line = 27, presed = \"low\" }").is_err());
}

#[test]
fn each_wire_has_its_own_line_level_and_resistor_and_is_told_as_what_it_is() {
    let config: InputsConfig = toml::from_str(
        "debounce_ms = 35\nexit_button = { line = 27, pressed = \"high\", bias = \"pull-down\" }\n\
         door_contact = { line = \"GPIO22\", open = \"low\", bias = \"off\" }",
    )
    .unwrap();
    let wires: Vec<_> = config
        .wires()
        .map(|(_, WireConfig { line, active, bias, debounce, means, .. })| {
            (line, active, bias, debounce.as_millis(), [true, false].map(means))
        })
        .collect();
    let button = [true, false].map(Input::ExitButton);
    let contact = [true, false].map(Input::DoorContact);
    let expected = [
        (LineId::Offset(27), Level::High, BiasConfig::PullDown, 35, button),
        (LineId::Name("GPIO22".into()), Level::Low, BiasConfig::Off, 35, contact),
    ];
    assert_eq!(wires, expected);
    assert_eq!([Value::Inactive, Value::Active].map(level), [Level::Low, Level::High]);
}

#[test]
fn each_wire_that_is_configured_is_opened_by_itself_and_a_missing_chip_is_named() {
    assert_eq!(InputsConfig::default().wires().count(), 0);
    let config: InputsConfig = toml::from_str(
        "chip = \"/dev/gpiochip987\"\nexit_button = { line = 27 }\n\
         door_contact = { line = 22, chip = \"/dev/gpiochip986\" }",
    )
    .unwrap();
    let errors: Vec<_> = config
        .wires()
        .map(|(name, wire)| {
            (name, GpioInput::open(&wire, Arc::new(BootClock)).err().map(|error| error.to_string()).unwrap())
        })
        .collect();
    assert_eq!(errors.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["exit button", "door contact"]);
    assert!(errors[0].1.contains("/dev/gpiochip987") && errors[0].1.contains("gpiodetect"), "{errors:?}");
    assert!(errors[1].1.contains("/dev/gpiochip986"), "{errors:?}");
}
