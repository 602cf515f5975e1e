//! What each feed takes, made here, to be damaged; and what tempts a reader into taking all memory or all stack.

use std::io::Cursor;
use std::path::Path;

use facelatch::digest::Digest;
use facelatch::face::align::TEMPLATE_112;
use facelatch::face::{Encoder, Encoding};
use facelatch::gallery::{MasterKey, NewPerson, NewTemplate, Template, TemplateId};
use facelatch::gate::record::{Outcome, Reason, Record};
use facelatch::hw::store::Store;
use facelatch::infer::manifest;
use facelatch::liveness::series::{ROWS, TICKS};
use facelatch::person::{Name, PersonId};
use image::{DynamicImage, ImageFormat};

use super::feeds::{self, ACT, JPEG_SIDES, KEY, NOW};

#[path = "../../src/infer/tiny.rs"]
mod tiny;

pub struct Seeds {
    /// Each is taken as it is.
    pub sound: Vec<Vec<u8>>,
    /// Each is a lie about a size, or deeper than any reader should follow.
    pub tempting: Vec<Vec<u8>>,
}

fn sound(sound: Vec<Vec<u8>>) -> Seeds {
    Seeds { sound, tempting: Vec::new() }
}

fn texts(of: &[&str]) -> Vec<Vec<u8>> {
    of.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn picture(width: u32, height: u32) -> DynamicImage {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 5) as u8, (y * 7) as u8, (x * y) as u8]);
    DynamicImage::ImageRgb8(image::RgbImage::from_fn(width, height, pixel))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("memory can be written to");
    bytes.into_inner()
}

pub fn frames() -> Seeds {
    let frame = |format: u8, width: u32, height: u32, stride: u32, data: &[u8]| {
        [&[format][..], &width.to_le_bytes(), &height.to_le_bytes(), &stride.to_le_bytes(), data].concat()
    };
    let pixels: Vec<u8> = (0..=255).cycle().take(40 * 8).collect();
    let sound = vec![
        frame(0, 8, 6, 24, &pixels),
        frame(1, 18, 8, 40, &pixels),
        frame(2, 16, 8, 24, &pixels),
        frame(3, 35, 8, 40, &pixels),
        frame(4, 8, 6, 0, &encoded(&picture(8, 6), ImageFormat::Jpeg)),
    ];
    let tempting = vec![
        frame(0, 8192, 8192, 32768, &pixels),
        frame(0, u32::MAX, u32::MAX, u32::MAX, &pixels),
        frame(4, 8192, 8192, 0, &encoded(&picture(8, 6), ImageFormat::Jpeg)),
    ];
    Seeds { sound, tempting }
}

pub fn jpegs() -> Seeds {
    let [colour, larger] = [JPEG_SIDES, (JPEG_SIDES.0 * 2, JPEG_SIDES.1)].map(|(width, height)| picture(width, height));
    let grey = DynamicImage::ImageLuma8(colour.to_luma8());
    let whole = encoded(&colour, ImageFormat::Jpeg);
    let grey = encoded(&grey, ImageFormat::Jpeg);
    let tempting = vec![declaring(&whole, u16::MAX, u16::MAX), encoded(&larger, ImageFormat::Jpeg)];
    Seeds { sound: vec![without_tables(&whole), whole, grey], tempting }
}

/// As a camera sends it: the segments up to the scan, Huffman tables left out.
fn without_tables(jpeg: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (jpeg[..2].to_vec(), &jpeg[2..]);
    while rest[1] != 0xDA {
        let (segment, after) = rest.split_at(2 + usize::from(u16::from_be_bytes([rest[2], rest[3]])));
        if segment[1] != 0xC4 {
            out.extend_from_slice(segment);
        }
        rest = after;
    }
    [out, rest.to_vec()].concat()
}

/// With other sides in the frame's header.
fn declaring(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut out = jpeg.to_vec();
    let header = out.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a baseline JPEG");
    out[header + 5..][..2].copy_from_slice(&height.to_be_bytes());
    out[header + 7..][..2].copy_from_slice(&width.to_be_bytes());
    out
}

pub fn photos() -> Seeds {
    const EXIF: &[u8] = b"\xFF\xE1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let formats = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Pnm];
    let mut sound: Vec<_> = formats.iter().map(|format| encoded(&picture(24, 16), *format)).collect();
    let jpeg = sound[0].clone();
    sound.push([&jpeg[..2], EXIF, &jpeg[2..]].concat());
    sound.push(encoded(&DynamicImage::ImageRgba16(picture(24, 16).to_rgba16()), ImageFormat::Png));
    let tempting = texts(&[
        "P6 8192 8192 65535\n",
        "P7\nWIDTH 8192\nHEIGHT 8192\nDEPTH 4\nMAXVAL 65535\nTUPLTYPE RGB_ALPHA\nENDHDR\n",
    ]);
    Seeds { sound, tempting }
}

pub fn y4ms() -> Seeds {
    let frames = |header: &str, planes: usize| {
        let frame = [b"FRAME\n".to_vec(), (0..=255).cycle().take(planes).collect()].concat();
        [header.as_bytes(), b"\n", &frame, &frame].concat()
    };
    let sound = vec![
        frames("YUV4MPEG2 W8 H6 F30:1 Ip A1:1 C420jpeg XCOLORRANGE=FULL", 72),
        frames("YUV4MPEG2 W8 H5 F30000:1001 C422", 80),
        frames("YUV4MPEG2 W7 H5 F0:0 Cmono", 35),
    ];
    Seeds { sound, tempting: vec![frames("YUV4MPEG2 W8192 H8192 C420", 0), vec![b'Y'; 1 << 20]] }
}

pub fn configs() -> Seeds {
    let deep_key = format!("{}x = 1", "gate.".repeat(10_000));
    let deep_section = format!("[{}x]", "faces.".repeat(10_000));
    let deep_value = format!("gate = {}", "[".repeat(60_000));
    let deep_table = format!("gate = {}", "{ a = ".repeat(10_000));
    Seeds {
        sound: texts(&[include_str!("../../systemd/facelatch.toml"), "[gate]\npulse_ms = 3000\nmargin = 0.05\n"]),
        tempting: texts(&[&deep_key, &deep_section, &deep_value, &deep_table]),
    }
}

pub fn schedules() -> Seeds {
    let many = format!("{} America/Argentina/Buenos_Aires", "Mon,Wed,Fri-Sat 07:00-19:00;".repeat(16));
    let sound = texts(&[
        "always",
        "daily 00:00-24:00 UTC",
        "Mon-Fri 07:00-19:00; Sat 08:00-12:00 Europe/Madrid",
        "Fri-Mon,Wed 22:00-06:00; Tue 01:00-02:30 America/New_York",
        &many,
    ]);
    Seeds { sound, tempting: texts(&["Mon 00:00-00:01 ../../../etc/passwd"]) }
}

pub fn messages() -> Seeds {
    let deep = format!(r#"{{"op":"claim","name":{}"#, "[".repeat(4000));
    let long = format!("{{\"op\":\"claim\",\"name\":\"{}\"}}\n", "x".repeat(8000));
    let sound = texts(&[
        "{\"op\":\"status\"}\n",
        "{\"op\":\"claim\",\"name\":\"Ana\"}\n",
        "{\"op\":\"watch\"}\n",
        concat!(
            r#"{"re":"status","state":"idle","since_s":1.5,"since":"2026-09-21T14:13:20.123Z","camera":"ok","sensors":["#,
            r#""distance"],"door":"closed","alarm":"silent","faults":[],"people":3,"frames_seen":99,"version":"0.1.0"}"#,
            "\n"
        ),
        concat!(
            r#"{"re":"event","seq":7,"at":"2026-09-21T14:13:20.123Z","outcome":"granted","person":"Ana","similarity":0.7,"#,
            r#""reasons":["liveness_not_required"],"hash":null}"#,
            "\n"
        ),
    ]);
    Seeds { sound, tempting: texts(&["{\"re\":\"refused\",\"reason\":\"no\"}\n", &deep, &long]) }
}

pub fn models() -> Seeds {
    const WEIGHTS: [f32; 6] = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5];
    let encoder = r#"
        name = "fed"
        decode = { embedding = { dims = 2 } }
        input = { width = 112, height = 112, order = "rgb", mean = [1.0, 0.0, 0.0], scale = [1.0, 1.0, 1.0] }
    "#;
    let detector = encoder.replace("{ embedding = { dims = 2 } }", "\"yunet\"").replace("112", "2048");
    let network = tiny::onnx(&WEIGHTS);
    let with = |more: &[u8]| feeds::join([encoder.as_bytes(), &tiny::with_op("MatMul", &WEIGHTS, more)]);
    let sides = |sides: &[u64]| with(&sides.iter().flat_map(|&side| tiny::varint(1, side)).collect::<Vec<_>>());
    let tempting = vec![
        feeds::join([detector.as_bytes(), &network]),
        sides(&[1 << 60]),
        sides(&[u64::MAX]),
        sides(&[1 << 20, 64]),
        feeds::join([encoder.as_bytes(), &made_from_a_number(1 << 30)]),
        feeds::join([encoder.as_bytes(), &made_from_a_number(1 << 60)]),
    ];
    let of = |decode: &str, [width, height]: [u64; 2], network: &[u8]| {
        let sides = format!("width = {width}, height = {height}");
        let text = encoder.replace("{ embedding = { dims = 2 } }", decode).replace("width = 112, height = 112", &sides);
        feeds::join([text.as_bytes(), network])
    };
    let sound = vec![
        feeds::join([encoder.as_bytes(), &network]),
        of("{ embedding = { dims = 4 } }", [112; 2], &at_eight_bits([1, 3, 112, 112], &[], 4)),
        of("{ points = { margin = 8 } }", [32; 2], &at_eight_bits([1, 3, 32, 32], &[], 10)),
        of("{ anti-spoof = { crop = 2.7, logits = true } }", [40; 2], &at_eight_bits([1, 3, 40, 40], &[], 3)),
        of("\"liveness\"", [TICKS as u64, 1], &at_eight_bits([1, ROWS as u64, 1, TICKS as u64], &[0, 2, 1, 3], 7)),
    ];
    Seeds { sound, tempting }
}

/// A convolution between bytes, after a `Transpose` if `first` is one, and the mean of each of its channels.
fn at_eight_bits(sides: [u64; 4], first: &[usize], outputs: u64) -> Vec<u8> {
    const FLOAT: u64 = 1;
    const UNSIGNED: u64 = 2;
    const SIGNED: u64 = 3;
    let ints = |name: &str, numbers: &[usize]| {
        let numbers = numbers.iter().flat_map(|&n| tiny::varint(8, n as u64));
        tiny::bytes(5, &tiny::text(1, name).into_iter().chain(numbers).chain(tiny::varint(20, 7)).collect::<Vec<_>>())
    };
    let layer = |op: &str, inputs: &[&str], output: &str, more: &[Vec<u8>]| {
        tiny::bytes(1, &[tiny::node(op, inputs, output), more.concat()].concat())
    };
    let tensor = |name: &str, kind: u64, dims: &[u64], raw: &[u8]| {
        let dims: Vec<u8> = dims.iter().flat_map(|&side| tiny::varint(1, side)).collect();
        tiny::bytes(5, &[dims, tiny::varint(2, kind), tiny::text(8, name), tiny::bytes(9, raw)].concat())
    };
    let rounded = |from: &str, bytes: &str, to: &str| {
        let quantized = layer("QuantizeLinear", &[from, "step", "zero"], bytes, &[]);
        [quantized, layer("DequantizeLinear", &[bytes, "step", "zero"], to, &[])].concat()
    };
    let turned = if first.is_empty() { "image" } else { "turned" };
    let channels = first.get(1).map_or(sides[1], |&side| sides[side]);
    let weights: Vec<u8> = (0..outputs * channels * 9).map(|i| ((i * 37 % 255) as i16 - 127) as u8).collect();
    let bias = 1.0f32.to_le_bytes().repeat(outputs as usize);
    let window = [ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4]), ints("strides", &[8, 8])];
    let graph = [
        if first.is_empty() { Vec::new() } else { layer("Transpose", &["image"], turned, &[ints("perm", first)]) },
        rounded(turned, "pixels", "seen"),
        layer("DequantizeLinear", &["bytes", "step"], "weights", &[]),
        layer("Conv", &["seen", "weights", "bias"], "found", &window),
        rounded("found", "cells", "map"),
        layer("GlobalAveragePool", &["map"], "means", &[]),
        layer("Transpose", &["means"], "last", &[ints("perm", &[0, 2, 3, 1])]),
        layer("Flatten", &["last"], "out", &[]),
        tiny::text(2, "tiny"),
        tensor("step", FLOAT, &[], &0.5f32.to_le_bytes()),
        tensor("zero", UNSIGNED, &[], &[0]),
        tensor("bytes", SIGNED, &[outputs, channels, 3, 3], &weights),
        tensor("bias", FLOAT, &[outputs], &bias),
        tiny::bytes(11, &tiny::value("image", &sides)),
        tiny::bytes(12, &tiny::value("out", &[1, outputs])),
    ];
    let opset = [tiny::text(1, ""), tiny::varint(2, 13)].concat();
    [tiny::varint(1, 8), tiny::bytes(7, &graph.concat()), tiny::bytes(8, &opset)].concat()
}

/// Else none of them would reach the code for such networks.
#[test]
fn a_convolution_between_bytes_runs_at_eight_bits() {
    let file = tiny::model(at_eight_bits([1, 3, 112, 112], &[], 4), 4);
    let layers = Encoder::load(&file).expect("a sound seed").layers();
    assert!(layers.iter().any(|layer| layer.is_int8), "{layers:?}");
}

/// A network that computes a tensor of so many numbers on loading, of which it holds one.
fn made_from_a_number(elements: u64) -> Vec<u8> {
    let int64 = tiny::varint(2, 7);
    let shape = [tiny::varint(1, 1), int64, tiny::text(8, "shape"), tiny::bytes(9, &elements.to_le_bytes())].concat();
    let node = |op, from, to| tiny::bytes(1, &[tiny::text(1, from), tiny::text(2, to), tiny::text(4, op)].concat());
    let made = [node("ConstantOfShape", "shape", "made"), node("Neg", "made", "turned")].concat();
    // A message that comes twice is merged: nodes and tensors add up.
    [tiny::onnx(&[1.0; 6]), tiny::bytes(7, &[made, tiny::bytes(5, &shape)].concat())].concat()
}

pub fn points() -> Seeds {
    let seed = |scale: f32| {
        let found = [10.0, 10.0, 60.0, 60.0, 0.9];
        TEMPLATE_112.0.iter().flatten().map(|x| x * scale).chain(found).flat_map(f32::to_le_bytes).collect()
    };
    Seeds {
        sound: [1.0, 10.0, 300.0].map(seed).to_vec(),
        tempting: [1e-9, 1e6, 1e18, f32::MAX, f32::NAN].map(seed).to_vec(),
    }
}

fn encoding(of: usize) -> Encoding {
    let raw: Vec<f32> = (0..64).map(|i| ((i * (of + 3)) % 17) as f32 - 8.0).collect();
    Encoding::from_raw(&raw).expect("it has a direction")
}

/// One whose log was moved into it, and one whose log was not.
pub fn databases() -> Seeds {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gallery.db");
    let mut store = Store::open(&path, &MasterKey::from_bytes(KEY)).expect("a new store");
    populate(&mut store, "Ana");
    store.checkpoint().expect("nobody else has it");
    let moved = files(&path);
    populate(&mut store, "Ben");
    sound(vec![moved, files(&path)])
}

fn populate(store: &mut Store, name: &str) {
    let templates: Vec<_> = (0..3)
        .map(|i| NewTemplate { encoding: encoding(i), model_sha256: Digest([7; 32]), quality: 0.5, created: NOW })
        .collect();
    let person = NewPerson::new(Name::new(name).expect("a name"));
    let (id, _) = store.enrol(&person, &templates, 8, ACT).expect("a healthy store");
    for _ in 0..4 {
        let record = Record::new(NOW, Outcome::Granted).person(id).because(Reason::LivenessNotRequired);
        store.append_event(&record).expect("a healthy store");
    }
}

fn files(path: &Path) -> Vec<u8> {
    let read = |path: &Path| std::fs::read(path).expect("the store is open");
    feeds::join([&read(path), &read(&path.with_extension("db-wal"))])
}

pub fn templates() -> Seeds {
    let (id, person) = (TemplateId::new(1), PersonId::new(1));
    let template =
        |i| Template { id, person, encoding: encoding(i), model_sha256: Digest([0; 32]), quality: 0.5, created: NOW };
    sound((0..2).map(|i| template(i).to_bytes().to_vec()).collect())
}

pub fn sealed() -> Seeds {
    sound(vec![feeds::sealed_template().to_vec()])
}

pub fn key_files() -> Seeds {
    sound(texts(&["5a5A0123456789abcdefABCDEF0000000000000000000000000000000000ffff\n"]))
}

pub fn pairs() -> Seeds {
    Seeds {
        sound: texts(&["2\t1\nAna\t1\t2\nAna\t1\tBen\t3\nBen\t3\t4\nBen\t4\tCy\t1\n", "1\nAna 1 2\nAna 1 Ben 3\n"]),
        tempting: texts(&["1\nAna 1 2\nAna 1 ../Ben 3\n", "1000000 1000000\n", "1000 500\nAna 1 2\n"]),
    }
}

pub fn calibrations() -> Seeds {
    let deep = format!("rows = {}", "[".repeat(60_000));
    let close = |more: &str| format!("{}rows = [[0.3, 0.001, 0.002, 0.0], [0.3{more}, 0.0, 0.001, 0.1]]\n", ORIGIN);
    Seeds { sound: texts(&[&close("1")]), tempting: texts(&[&close("000000001"), &deep]) }
}

pub fn pair_heads() -> Seeds {
    let encoder = "5a".repeat(32);
    let head = |weights: &str| format!("model = \"{encoder}\"\nbias = 7.5\nweights = [{weights}]\n");
    let origin = ORIGIN.replace("sha256 = \"\"", &format!("sha256 = \"{encoder}\""));
    let table = format!("[calibration]{origin}rows = [[0.3, 0.001, 0.002, 0.0]]\n");
    let whole = format!("{}{table}", head("-1.5, 0.25, -3, -1e-3"));
    let huge = head(&"-1e39, ".repeat(600));
    Seeds { sound: texts(&[&head("-1.0"), &whole]), tempting: texts(&[&huge, &head("1e-46, -1e-46"), &head("nan")]) }
}

pub fn sessions() -> Seeds {
    const HEAD: &str = "# facelatch liveness session 1\n# label = \"live\"\n# source = \"recorded\"\n";
    let whole =
        format!("{HEAD}# note = \"by the \\\"window\\\"\"\nt_s,face_size,skin_g\n0.0000,0.1012,\n0.0400,,151.5\n");
    let deep = format!("{HEAD}# note = {}\n", "[".repeat(2000));
    let sound = texts(&[&whole, &format!("{HEAD}t_s\n"), &whole.replace('\n', "\r\n")]);
    Seeds { sound, tempting: texts(&[&deep, &",".repeat(100_000), &format!("{HEAD}t_s,yaw\n1e308,1e39\n")]) }
}

const ORIGIN: &str = r#"
model = "fed"
sha256 = ""
detector = ""
evaluation = ""
date = "2026-01-01"
people = 1
images = 2
lost = 0
impostors = 1000
genuine = 10
"#;

pub fn grid_lines() -> Seeds {
    let line = |body: &str| format!("{body}*{:02x}\n", body.bytes().fold(0, |sum, byte| sum ^ byte)).into_bytes();
    let zones: String =
        (0..64).map(|zone| if zone == 9 { " -".to_owned() } else { format!(" {}", 600 + zone) }).collect();
    let sound = vec![line(&format!("depth 8 8 12{zones}")), line("thermal 3 1 0 20.25 -3.5 1e2")];
    let tempting = vec![line("depth 4294967295 4294967295 0"), line("thermal 65536 65536 0 1"), vec![b' '; 1 << 20]];
    Seeds { sound, tempting }
}

pub fn scans() -> Seeds {
    let numbers: Vec<u8> = (0..=255).collect();
    let of = |forms: &[u8]| feeds::join([forms, &numbers]);
    let sound = vec![
        of(b"be:u18/32>>8\nbe:u18/32>>8"),
        of(b"le:s12/16>>4\nle:s12/16>>4\nle:s12/16>>4\nle:s64/64"),
        of(b"le:u8/8X4\nbe:s16/16>>0"),
    ];
    let tempting =
        vec![of(b"le:u64/128X16\nbe:u64/128X16>>63"), of(&b"le:u8/8\n".repeat(1000)), of(b"le:u99999999999/8")];
    Seeds { sound, tempting }
}
