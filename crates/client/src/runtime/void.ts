async function api_void(result: Promise<ApiResult<null>>): Promise<ApiVoidResult> {
    const { status, error } = await result;
    return { status, error };
}
