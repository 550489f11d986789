{
  "targets": [
    {
      "target_name": "varve",
      "sources": [
        "native/src/addon.cc",
        "native/src/batch_scan.cc",
        "native/src/crc32c.cc",
        "native/src/failure.cc",
        "native/src/node_checksum.cc",
        "native/src/node_environment.cc"
      ],
      "defines": ["NAPI_DISABLE_CPP_EXCEPTIONS", "NAPI_VERSION=9"],
      "cflags_cc": ["-std=c++20", "-O2", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-O3"],
      "ldflags": ["-Wl,-z,nodelete"],
      "libraries": ["-pthread"]
    }
  ]
}
