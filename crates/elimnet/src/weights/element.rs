use super::fault::Fault;

/// How one number is stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    /// The element of a `torch.*Storage` class.
    pub(crate) fn from_storage_class(name: &str) -> Result<Self, Fault> {
        Ok(match name {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            other => return Err(Fault::ElementType(format!("torch.{other}"))),
        })
    }

    /// The element of a safetensors `dtype`.
    pub(crate) fn from_safetensors(name: &str) -> Result<Self, Fault> {
        Ok(match name {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "I64" => Self::I64,
            "I32" => Self::I32,
            "I16" => Self::I16,
            "I8" => Self::I8,
            "U8" => Self::U8,
            "BOOL" => Self::Bool,
            other => return Err(Fault::ElementType(other.to_owned())),
        })
    }

    /// Bytes of one element.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The numbers that `bytes` hold, rounded to f32 where they are wider.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F64 => decode_each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => decode_each(bytes, f32::from_le_bytes),
            Self::F16 => decode_each(bytes, |b| f16_to_f32(u16::from_le_bytes(b))),
            Self::Bf16 => decode_each(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            Self::I64 => decode_each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => decode_each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::I16 => decode_each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Self::I8 => decode_each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Self::U8 => decode_each(bytes, |[b]| f32::from(b)),
            Self::Bool => decode_each(bytes, |[b]| if b == 0 { 0.0 } else { 1.0 }),
        }
    }
}

fn decode_each<const SIZE: usize>(bytes: &[u8], decode: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<SIZE>().0.iter().map(|&chunk| decode(chunk)).collect()
}

/// Widens an IEEE 754 half-precision number; every one is exact in f32.
fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits & 0x3ff);
    let magnitude = match exponent {
        // Zero and subnormals count in units of 2^-24.
        0 => (fraction as f32 * 2.0_f32.powi(-24)).to_bits(),
        0x1f => 0x7f80_0000 | fraction << 13,
        // Rebias the exponent from 15 to 127.
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_has_the_value_its_bits_define() {
        for bits in 0..=u16::MAX {
            let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
            let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
            let found = f64::from(f16_to_f32(bits));
            match (exponent, bits & 0x3ff) {
                (31, 0) => assert_eq!(found, sign * f64::INFINITY),
                (31, _) => assert!(found.is_nan(), "{bits:04x}"),
                (0, _) => assert_eq!(found, sign * fraction / 1024.0 * 2.0_f64.powi(-14), "{bits:04x}"),
                _ => assert_eq!(
                    found,
                    sign * (1.0 + fraction / 1024.0) * 2.0_f64.powi(exponent - 15),
                    "{bits:04x}"
                ),
            }
        }
        assert!(f16_to_f32(0x8000).is_sign_negative(), "the sign of zero is kept");
    }

    #[test]
    fn every_element_type_decodes() {
        let cases: [(Element, Vec<u8>, f32); 10] = [
            (Element::F64, (-0.1f64).to_le_bytes().to_vec(), -0.1),
            (Element::F32, 0.3f32.to_le_bytes().to_vec(), 0.3),
            (Element::F16, 0xc500u16.to_le_bytes().to_vec(), -5.0),
            (Element::Bf16, 0x3fc0u16.to_le_bytes().to_vec(), 1.5),
            (Element::I64, (-3i64).to_le_bytes().to_vec(), -3.0),
            (Element::I32, 70_000i32.to_le_bytes().to_vec(), 70_000.0),
            (Element::I16, (-2i16).to_le_bytes().to_vec(), -2.0),
            (Element::I8, (-1i8).to_le_bytes().to_vec(), -1.0),
            (Element::U8, vec![255], 255.0),
            (Element::Bool, vec![2], 1.0),
        ];
        for (element, bytes, expected) in cases {
            assert_eq!(bytes.len(), element.size(), "{element:?}");
            assert_eq!(element.decode(&bytes), [expected], "{element:?}");
        }
    }
}
