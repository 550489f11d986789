// Segments for JavaScript.
#pragma once

#include <node_api.h>

#include <memory>

#include "mapped_segment.h"
#include "node_handle.h"
#include "node_store.h"

namespace varve {

struct SegmentHandle : Handle {
  SegmentHandle(SegmentRef opened, std::shared_ptr<Store> owner)
      : Handle(HandleKind::segment), segment(std::move(opened)), store(std::move(owner)) {}
  ~SegmentHandle() override { segment->close(); }
  const SegmentRef segment;
  const std::shared_ptr<Store> store;
};

void export_segment(napi_env env, napi_value exports);

}  // namespace varve
