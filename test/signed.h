/* SPDX-License-Identifier: MIT */
/* signed.h: two private keys, and packets that python-ndn 0.5.2, which uses another library for its cryptography, has
 * signed with them and with a secret. Interests are for /a/b, Data is /a/b/v=1; both carry "hello". */
#ifndef SIGNED_H
#define SIGNED_H

#define KEY_NAME "/alice/KEY/%01%02/self/v=0"
#define KEY_NAME_HASH "fa04fe8e248a5e831d6365a6db8cd9cfdc4f3b1ca18b0dd8d652c1b5be2aeeac" /* ndn-rs's, for its FilePib */
#define SECRET "secret of both sides"

#define ED25519_SEED "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define ED25519_PKCS8 "302e020100300506032b657004220420" ED25519_SEED
#define ED25519_PUBLIC "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
#define ED25519_SPKI "302a300506032b6570032100" ED25519_PUBLIC

#define ECDSA_PKCS8                                                                                                \
  "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420c196302be375abb2a9c09c5e92ad8e2130f3a3" \
  "17f4986179abe640c82d074e31a144034200044f436d59e1511328ec19596d15479604a89a510b7cb9a8bb7a1fb2ffd4384c822bd71e16" \
  "a96fe5f52e5efb2aa944809911b031ea5bed828a8b0cda3ab1ec5b58"
#define ECDSA_SPKI                                                                                                 \
  "3059301306072a8648ce3d020106082a8648ce3d030107034200044f436d59e1511328ec19596d15479604a89a510b7cb9a8bb7a1fb2ff" \
  "d4384c822bd71e16a96fe5f52e5efb2aa944809911b031ea5bed828a8b0cda3ab1ec5b58"
#define ECDSA_PEM                                                      \
  "-----BEGIN PRIVATE KEY-----\n"                                      \
  "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwZYwK+N1q7KpwJxe\n" \
  "kq2OITDzoxf0mGF5q+ZAyC0HTjGhRANCAARPQ21Z4VETKOwZWW0VR5YEqJpRC3y5\n" \
  "qLt6H7L/1DhMgivXHhapb+X1Ll77KqlEgJkRsDHqW+2CiosM2jqx7FtY\n"         \
  "-----END PRIVATE KEY-----\n"

#define DIGEST_DATA                                                                                              \
  "064207090801610801623601011407180100190203e8150568656c6c6f16031b010017208953704cb0b03f63124b6ac0a3d2dc142137" \
  "97b86d42445aabe4d97841d83d55"
#define DIGEST_DATA_FULL_NAME "17b6d3dedd28e143e764b0d3ee0bc2a6e4fedbe5a0958e4e1bebf51ab785ef4d"
#define DIGEST_INTEREST                                                                                          \
  "0562072808016108016202205193bc4ec5ba6dbd3d286e5b111bebad24041b7931519c63e724679af8a0e13d0a04010203040c0203e8" \
  "240568656c6c6f2c031b01002e20d41532ab16eb51a052c98b6923d22f502643bc46b344adf898e4d77c3f05593a"
#define HMAC_DATA                                                                                                \
  "064907090801610801623601011407180100190203e8150568656c6c6f160a1b01041c05070308016b17204ea1cfb5c0860f3c368679" \
  "846c973477d7adfa5d2427e486483e14165e797b3a"
#define HMAC_INTEREST                                                                                            \
  "056907280801610801620220579a54c867e94d379c84628020c2522b94fb5443b71838af163e8a75b3cf1c3a0a04010203040c0203e8" \
  "240568656c6c6f2c0a1b01041c05070308016b2e20a3d2551d86202e2927ebb53f1257fc451bb8752e3c43d6146fe35970833434ba"
#define ED25519_DATA                                                                                             \
  "067f07090801610801623601011407180100190203e8150568656c6c6f16201b01051c1b07190805616c69636508034b455908020102" \
  "080473656c6636010017405719b44f69d4b743968a13b62fca34225c870ad4d2c05a363394d1d5ff7fb4063afb03edda6485e6939fd4" \
  "d480de160f566ea485120f5d13775a634404d97f00"
#define ED25519_INTEREST                                                                                         \
  "059f07280801610801620220bd006bcf2ae338a43e8555984fc17745a871eb7c5f1b0ba964f108eb717666420a04010203040c0203e8" \
  "240568656c6c6f2c201b01051c1b07190805616c69636508034b455908020102080473656c663601002e4034d71efc0dbfad94af2d94" \
  "46f06ecb30883580c55e7f9a035d76365c6e692f7b716861c6e35fc7eb11b3801c21271321b1702f99614a19c77aee80d8d478b009"
#define ECDSA_DATA                                                                                               \
  "068707090801610801623601011407180100190203e8150568656c6c6f16201b01031c1b07190805616c69636508034b455908020102" \
  "080473656c6636010017483046022100fb68fae018fbc159bbc97838fa4129e3832d483659f86d636a8ebc82ddcbd22b022100a5b599" \
  "021e1a0e881944afaf942a235a824b4e3700c02aa8b9551bce9b99aea2"
#define ECDSA_INTEREST                                                                                           \
  "05a607280801610801620220e6b57f1168ec6bbf8cbfe5477690481dc183406dc32d0197c2202d672fab144b0a04010203040c0203e8" \
  "240568656c6c6f2c201b01031c1b07190805616c69636508034b455908020102080473656c663601002e473045022100b7de5932bfe5" \
  "1ffb74221c9ae3f614686e1d0697427226b96b258da3713a420802204665cfa4a32482061a63e73f4dd25a567e18666c857fe33161ab" \
  "1ada89350688"

#endif
