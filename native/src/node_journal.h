// The journal for JavaScript.
#pragma once

#include <node_api.h>

namespace varve {

void export_journal(napi_env env, napi_value exports);

}  // namespace varve
