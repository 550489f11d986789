// Segments for JavaScript.
#pragma once

#include <node_api.h>

#include <memory>
#include <string>

#include "mapped_segment.h"
#include "node_handle.h"
#include "node_store.h"

namespace varve {

struct SegmentHandle : Handle {
  SegmentHandle(SegmentRef opened, std::shared_ptr<Store> owner)
      : Handle(HandleKind::segment), segment(std::move(opened)), mark(segment->mark()), path(segment->path()),
        store(std::move(owner)) {}
  ~SegmentHandle() override { close(); }
  void close() {
    if (segment) segment->close();
    segment = SegmentRef();
  }

  SegmentRef segment;  // empty once closed
  const MappedSegment::Mark mark;
  const std::string path;
  const std::shared_ptr<Store> store;
};

void export_segment(napi_env env, napi_value exports);

}  // namespace varve
