// Some libraries export the static libcrypto they were built with (Arrow's libparquet does). Whichever library the
// linker names first wins for the whole process, so the build names OpenSSL first; this holds it to that.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <string>

namespace {

TEST(LibcryptoTest, IsTheSystems) {
  Dl_info found;
  ASSERT_NE(dladdr(reinterpret_cast<void*>(&EVP_EncryptInit_ex), &found), 0);
  void* system_library = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(system_library, nullptr) << "the system's libcrypto is not loaded at all";
  struct link_map* map = nullptr;
  ASSERT_EQ(dlinfo(system_library, RTLD_DI_LINKMAP, &map), 0) << dlerror();
  EXPECT_EQ(found.dli_fbase, reinterpret_cast<void*>(map->l_addr))
      << "EVP_EncryptInit_ex comes from " << found.dli_fname;
  dlclose(system_library);
}

TEST(LibcryptoTest, IsTheOneOfTheHeaders) {
  EXPECT_EQ(OpenSSL_version_num() >> 28, static_cast<unsigned long>(OPENSSL_VERSION_NUMBER) >> 28)
      << OpenSSL_version(OPENSSL_VERSION);
}

}  // namespace
