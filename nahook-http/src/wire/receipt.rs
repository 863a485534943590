//! Receipts and what was sent, as the API shows them.

use nahook_core::{Receipt, Sent};

/// Appends the receipt as JSON: `{"eventTypeId","deliveryIds","status":"accepted","failures"}` (contract, section 1).
///
/// It is written straight to bytes: ids are letters, digits and underscores, codes and messages are ours, so there is
/// nothing to escape.
pub fn write_receipt(receipt: &Receipt, out: &mut Vec<u8>) {
    // `"del_` and 26 digits, quotes and comma: 33 bytes a delivery.
    out.reserve(96 + receipt.deliveries().len() * 33);
    out.push(b'{');
    write_receipt_fields(receipt, out);
    out.push(b'}');
}

/// The same without the braces, for what has more fields.
pub(crate) fn write_receipt_fields(receipt: &Receipt, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"eventTypeId\":\"");
    out.extend_from_slice(receipt.event_type().as_str().as_bytes());
    out.extend_from_slice(b"\",\"deliveryIds\":[");
    for (position, id) in receipt.delivery_ids().enumerate() {
        out.extend_from_slice(if position == 0 { b"\"" } else { b",\"" });
        id.write_to(out);
        out.push(b'"');
    }
    out.extend_from_slice(b"],\"status\":\"accepted\",\"failures\":[");
    for (position, failure) in receipt.failures().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"endpointId\":\"");
        out.extend_from_slice(failure.endpoint.as_str().as_bytes());
        out.extend_from_slice(b"\",\"code\":\"");
        out.extend_from_slice(failure.kind.code().as_bytes());
        out.extend_from_slice(b"\",\"message\":\"");
        out.extend_from_slice(failure.kind.message().as_bytes());
        out.extend_from_slice(b"\"}");
    }
    out.push(b']');
}

/// `"deliveryId","idempotencyKey","status":"accepted"`; the key is the caller's text.
pub(crate) fn write_sent_fields(sent: &Sent, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"deliveryId\":\"");
    sent.delivery.write_to(out);
    out.extend_from_slice(b"\",\"idempotencyKey\":");
    write_string(sent.idempotency_key.as_str(), out);
    out.extend_from_slice(b",\"status\":\"accepted\"");
}

/// Any text as a JSON string.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    // Writing a text to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}
