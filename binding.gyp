{
  "targets": [
    {
      "target_name": "varve",
      "sources": [
        "native/src/addon.cc",
        "native/src/background.cc",
        "native/src/batch_scan.cc",
        "native/src/crc32c.cc",
        "native/src/direct_flush.cc",
        "native/src/directory_lock.cc",
        "native/src/failure.cc",
        "native/src/journal.cc",
        "native/src/journal_files.cc",
        "native/src/journal_format.cc",
        "native/src/journal_group.cc",
        "native/src/mapped_segment.cc",
        "native/src/node_checksum.cc",
        "native/src/node_environment.cc",
        "native/src/node_handle.cc",
        "native/src/node_journal.cc",
        "native/src/node_segment.cc",
        "native/src/node_store.cc",
        "native/src/node_trace.cc",
        "native/src/node_wakeup.cc",
        "native/src/open_files.cc",
        "native/src/posix_file.cc",
        "native/src/segment_ground.cc",
        "native/src/sigbus_guard.cc",
        "native/src/trace.cc"
      ],
      "defines": ["NAPI_DISABLE_CPP_EXCEPTIONS", "NAPI_VERSION=9"],
      "cflags_cc": ["-std=c++20", "-O2", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-O3"],
      "ldflags": ["-Wl,-z,nodelete"],
      "libraries": ["-pthread"]
    }
  ]
}
