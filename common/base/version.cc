#include "common/base/version.h"

namespace tidemark {

const char* Version() { return TIDEMARK_VERSION; }

}  // namespace tidemark
