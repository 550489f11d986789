// crc32c and scanBatches for JavaScript.
#pragma once

#include <node_api.h>

namespace varve {

void export_checksum(napi_env env, napi_value exports);

}  // namespace varve
