#include "node_environment.h"

#include <cmath>

namespace varve {

Environment& environment_of(napi_env env) {
  void* data = nullptr;
  check(napi_get_instance_data(env, &data), "napi_get_instance_data");
  return *static_cast<Environment*>(data);
}

void check(napi_status status, const char* what) {
  if (status == napi_ok || status == napi_pending_exception || status == napi_cannot_run_js) return;
  napi_fatal_error("varve", NAPI_AUTO_LENGTH, what, NAPI_AUTO_LENGTH);
}

napi_value make_error(napi_env env, const Failure& failure) {
  const napi_value arguments[] = {make_string(env, failure_code_name(failure.code)), make_string(env, failure.message)};
  const napi_ref reference = environment_of(env).make_error;
  napi_value error = nullptr;
  if (reference != nullptr) {
    napi_value function = nullptr;
    check(napi_get_reference_value(env, reference, &function), "napi_get_reference_value");
    if (napi_call_function(env, make_undefined(env), function, 2, arguments, &error) == napi_ok) return error;
    napi_value ignored = nullptr;
    napi_get_and_clear_last_exception(env, &ignored);
  }
  check(napi_create_error(env, arguments[0], arguments[1], &error), "napi_create_error");
  return error;
}

void throw_failure(napi_env env, const Failure& failure) {
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) return;
  napi_throw(env, make_error(env, failure));
}

void throw_argument(napi_env env, const char* message) {
  throw_failure(env, {FailureCode::invalid_argument, message});
}

Arguments::Arguments(napi_env env, napi_callback_info info) : env_(env) {
  check(napi_get_cb_info(env, info, &count_, values_, &receiver_, nullptr), "napi_get_cb_info");
}

void Arguments::fail(const char* name, const char* expected) {
  failed_ = true;
  throw_failure(env_, {FailureCode::invalid_argument, std::string(name) + " must be " + expected});
}

int64_t Arguments::integer(size_t index, const char* name) {
  constexpr double kLimit = 9007199254740991;
  double number = 0;
  // The negated comparison catches NaN as well.
  if (napi_get_value_double(env_, values_[index], &number) != napi_ok || !(std::fabs(number) <= kLimit) ||
      number != std::trunc(number)) {
    fail(name, "a whole number below 2^53");
    return 0;
  }
  return static_cast<int64_t>(number);
}

uint64_t Arguments::natural(size_t index, const char* name) {
  const int64_t number = integer(index, name);
  if (number < 0) {
    fail(name, "a whole number from 0 to 2^53 - 1");
    return 0;
  }
  return static_cast<uint64_t>(number);
}

uint32_t Arguments::u32(size_t index, const char* name) {
  const int64_t number = integer(index, name);
  if (number < 0 || number > UINT32_MAX) {
    fail(name, "a whole number from 0 to 2^32 - 1");
    return 0;
  }
  return static_cast<uint32_t>(number);
}

std::string Arguments::string(size_t index, const char* name) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env_, values_[index], nullptr, 0, &length) != napi_ok) {
    fail(name, "a string");
    return {};
  }
  std::string text(length, '\0');
  check(napi_get_value_string_utf8(env_, values_[index], text.data(), length + 1, &length), "napi_get_value_string_utf8");
  return text;
}

Arguments::Bytes Arguments::bytes(size_t index, const char* name) {
  bool is_typed_array = false;
  napi_typedarray_type type = napi_float64_array;
  Bytes result;
  void* data = nullptr;
  if (napi_is_typedarray(env_, values_[index], &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env_, values_[index], &type, &result.length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    fail(name, "a Uint8Array");
    return {};
  }
  result.data = static_cast<uint8_t*>(data);
  return result;
}

napi_value Arguments::function(size_t index, const char* name) {
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env_, values_[index], &type) != napi_ok || type != napi_function) fail(name, "a function");
  return values_[index];
}

napi_value make_number(napi_env env, double value) {
  napi_value result = nullptr;
  check(napi_create_double(env, value, &result), "napi_create_double");
  return result;
}

napi_value make_string(napi_env env, const std::string& value) {
  napi_value result = nullptr;
  check(napi_create_string_utf8(env, value.data(), value.size(), &result), "napi_create_string_utf8");
  return result;
}

napi_value make_undefined(napi_env env) {
  napi_value result = nullptr;
  check(napi_get_undefined(env, &result), "napi_get_undefined");
  return result;
}

void set_property(napi_env env, napi_value object, const char* name, napi_value value) {
  check(napi_set_named_property(env, object, name, value), "napi_set_named_property");
}

void set_function(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  check(napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function), "napi_create_function");
  set_property(env, exports, name, function);
}

}  // namespace varve
